/* Lets the k-th write call below one folder fail, as a full or broken disk would: write, fsync and rename of what lies there.

   cc -shared -fPIC -o faults.so faults.c -ldl, then LD_PRELOAD=./faults.so; arm(folder, k, errno) begins to count. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long left;
static int error;
static long seen;

void arm(const char *where, long k, int number) {
    snprintf(folder, sizeof folder, "%s", where);
    left = k;
    error = number;
    seen = 0;
}

long calls(void) { return seen; }

static int fails(const char *path) {
    if (!folder[0] || strncmp(path, folder, strlen(folder)) != 0) return 0;
    seen++;
    if (left <= 0 || --left > 0) return 0;
    errno = error;
    return 1;
}

static int fails_at(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(path);
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    return fails_at(descriptor) ? -1 : real(descriptor, bytes, count);
}

int fsync(int descriptor) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    return fails_at(descriptor) ? -1 : real(descriptor);
}

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (!real) real = dlsym(RTLD_NEXT, "rename");
    return fails(to) ? -1 : real(from, to);
}
