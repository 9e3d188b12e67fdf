/* A filter plugin as an attacker would leave it on the plugin path: it says that it was loaded and changes every value. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void loaded(void) {
    const char *marker = getenv("MARKER");
    FILE *file = marker ? fopen(marker, "w") : NULL;
    if (file) fclose(file);
}

static size_t change(unsigned flags, size_t count, const unsigned values[], size_t size, size_t *room, void **data) {
    (void)flags, (void)count, (void)values, (void)room;
    for (size_t place = 3; place < size; place += 4) ((unsigned char *)*data)[place] ^= 0x80;
    return size;
}

/* H5Z_class2_t */
static const struct {
    int version, id;
    unsigned encodes, decodes;
    const char *name;
    void *can_apply, *set_local;
    size_t (*filter)(unsigned, size_t, const unsigned[], size_t, size_t *, void **);
} description = {1, 4242, 1, 1, "changes signs", NULL, NULL, change};

int H5PLget_plugin_type(void) { return 0; }
const void *H5PLget_plugin_info(void) { return &description; }
