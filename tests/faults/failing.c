/* Lets the Nth call that changes files below a folder fail, stop short, or kill the process; and moves the clock.
 *
 * Preloaded. Nothing happens before shim_arm. What was counted and what failed is written to a page that the one who
 * armed it shares with others, so that it can be read after a crash too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ONCE = 0, FROM_THEN_ON = 1, SHORT = 2, SHORT_THEN_FULL = 3, SIGNAL = 4 };

struct page {
    atomic_long calls;  /* how many calls were counted */
    atomic_long failed; /* how many of them failed or stopped short */
    char first[512];    /* the first of those: its name and path */
};

static char folder[PATH_MAX];
static size_t folder_length;
static long target;
static int error_number, mode;
static struct page *page;
static atomic_long clock_offset;

void shim_arm(const char *below, long number, int error, int how, void *shared) {
    snprintf(folder, sizeof folder, "%s", below);
    folder_length = strlen(folder);
    target = number;
    error_number = error;
    mode = how;
    page = shared;
}

void shim_clock(long seconds) { atomic_store(&clock_offset, seconds); }

#define REAL(result, name, ...)                                       \
    static result (*real)(__VA_ARGS__);                               \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static int below(const char *path) {
    return !strncmp(path, folder, folder_length) && (path[folder_length] == '/' || !path[folder_length]);
}

static int path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int absolute(int directory, const char *name, char *path) {
    char base[PATH_MAX];
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return 1;
    }
    if (directory == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of(directory, base)) return 0;
    snprintf(path, PATH_MAX, "%.2000s/%.2000s", base, name);
    return 1;
}

/* 0: let it through, 1: fail, 2: stop short. */
static int strike(const char *call, const char *path, int writes, int frees) {
    if (!page || !below(path)) return 0;
    long number = atomic_fetch_add(&page->calls, 1) + 1;
    int full = error_number == ENOSPC || error_number == EDQUOT;
    int first = number == target, later = target > 0 && number > target;
    int verdict = 0;
    if (mode == SIGNAL) {
        if (first) {
            snprintf(page->first, sizeof page->first, "%s %s", call, path);
            kill(getpid(), error_number);
        }
        return 0;
    }
    if ((mode == SHORT || mode == SHORT_THEN_FULL) && first) verdict = writes ? 2 : 0;
    if (mode == ONCE && first) verdict = 1;
    if ((mode == FROM_THEN_ON && (first || later)) || (mode == SHORT_THEN_FULL && later))
        verdict = full && frees ? 0 : 1; /* a full disk lets files be removed */
    if (verdict && atomic_fetch_add(&page->failed, 1) == 0)
        snprintf(page->first, sizeof page->first, "%s %s", call, path);
    return verdict;
}

static int strike_fd(const char *call, int descriptor, int writes, int frees) {
    char path[PATH_MAX];
    if (!page || !path_of(descriptor, path)) return 0;
    return strike(call, path, writes, frees);
}

static int strike_at(const char *call, int directory, const char *name, int frees) {
    char path[PATH_MAX];
    if (!page || !name || !absolute(directory, name, path)) return 0;
    return strike(call, path, 0, frees);
}

#define FAIL do { errno = error_number; return -1; } while (0)
#define SHORTER(size) ((size) > 1 ? (size) / 2 : (size))

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    int verdict = strike_fd("write", fd, 1, 0);
    if (verdict == 1) FAIL;
    return real(fd, data, verdict ? SHORTER(size) : size);
}

#define PWRITE(name)                                                            \
    ssize_t name(int fd, const void *data, size_t size, off_t offset) {         \
        REAL(ssize_t, name, int, const void *, size_t, off_t);                  \
        int verdict = strike_fd("pwrite", fd, 1, 0);                            \
        if (verdict == 1) FAIL;                                                 \
        return real(fd, data, verdict ? SHORTER(size) : size, offset);          \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    int verdict = strike_fd("writev", fd, 1, 0);
    if (verdict == 1) FAIL;
    return real(fd, parts, verdict ? SHORTER(count) : count);
}

#define PWRITEV(name)                                                           \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) {  \
        REAL(ssize_t, name, int, const struct iovec *, int, off_t);             \
        int verdict = strike_fd("pwritev", fd, 1, 0);                           \
        if (verdict == 1) FAIL;                                                 \
        return real(fd, parts, verdict ? SHORTER(count) : count, offset);       \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define SYNC(name)                                  \
    int name(int fd) {                              \
        REAL(int, name, int);                       \
        if (strike_fd(#name, fd, 0, 0) == 1) FAIL;  \
        return real(fd);                            \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name)                                   \
    int name(int fd, off_t size) {                       \
        REAL(int, name, int, off_t);                     \
        if (strike_fd("ftruncate", fd, 0, 0) == 1) FAIL; \
        return real(fd, size);                           \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int rename(const char *one, const char *other) {
    REAL(int, rename, const char *, const char *);
    if (strike_at("rename", AT_FDCWD, other, 0) == 1) FAIL;
    return real(one, other);
}

int renameat(int from, const char *one, int to, const char *other) {
    REAL(int, renameat, int, const char *, int, const char *);
    if (strike_at("renameat", to, other, 0) == 1) FAIL;
    return real(from, one, to, other);
}

int renameat2(int from, const char *one, int to, const char *other, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    if (strike_at("renameat2", to, other, 0) == 1) FAIL;
    return real(from, one, to, other, flags);
}

int unlink(const char *name) {
    REAL(int, unlink, const char *);
    if (strike_at("unlink", AT_FDCWD, name, 1) == 1) FAIL;
    return real(name);
}

int unlinkat(int directory, const char *name, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    if (strike_at("unlinkat", directory, name, 1) == 1) FAIL;
    return real(directory, name, flags);
}

int rmdir(const char *name) {
    REAL(int, rmdir, const char *);
    if (strike_at("rmdir", AT_FDCWD, name, 1) == 1) FAIL;
    return real(name);
}

int mkdir(const char *name, mode_t bits) {
    REAL(int, mkdir, const char *, mode_t);
    if (strike_at("mkdir", AT_FDCWD, name, 0) == 1) FAIL;
    return real(name, bits);
}

int mkdirat(int directory, const char *name, mode_t bits) {
    REAL(int, mkdirat, int, const char *, mode_t);
    if (strike_at("mkdirat", directory, name, 0) == 1) FAIL;
    return real(directory, name, bits);
}

int link(const char *one, const char *other) {
    REAL(int, link, const char *, const char *);
    if (strike_at("link", AT_FDCWD, other, 0) == 1) FAIL;
    return real(one, other);
}

int linkat(int from, const char *one, int to, const char *other, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    if (strike_at("linkat", to, other, 0) == 1) FAIL;
    return real(from, one, to, other, flags);
}

#define BITS(flags)                                \
    mode_t bits = 0;                               \
    if ((flags) & O_CREAT) {                       \
        va_list rest;                              \
        va_start(rest, flags);                     \
        bits = va_arg(rest, mode_t);               \
        va_end(rest);                              \
    }

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                    \
        REAL(int, name, const char *, int, ...);                                    \
        BITS(flags)                                                                 \
        if (flags & O_CREAT && strike_at("open", AT_FDCWD, path, 0) == 1) FAIL;     \
        return real(path, flags, bits);                                             \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                \
    int name(int directory, const char *path, int flags, ...) {                     \
        REAL(int, name, int, const char *, int, ...);                               \
        BITS(flags)                                                                 \
        if (flags & O_CREAT && strike_at("openat", directory, path, 0) == 1) FAIL;  \
        return real(directory, path, flags, bits);                                  \
    }
OPENAT(openat)
OPENAT(openat64)

int clock_gettime(clockid_t which, struct timespec *now) {
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int result = real(which, now);
    if (!result && which == CLOCK_REALTIME) now->tv_sec += atomic_load(&clock_offset);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(int, gettimeofday, struct timeval *, void *);
    int result = real(now, zone);
    if (!result) now->tv_sec += atomic_load(&clock_offset);
    return result;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
