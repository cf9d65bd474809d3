/* The C library's own functions, which pagein.c stands in front of. */
#ifndef OPENAURORA_PAGEIN_REAL_H
#define OPENAURORA_PAGEIN_REAL_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>

#pragma GCC visibility push(hidden)

struct real_calls {
    int (*open)(const char *, int, ...);
    int (*openat)(int, const char *, int, ...);
    int (*close)(int);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*preadv)(int, const struct iovec *, int, off_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
    int (*ftruncate)(int, off_t);
    int (*truncate)(const char *, off_t);
    ssize_t (*copy_file_range)(int, off64_t *, int, off64_t *, size_t, unsigned);
    int (*unlink)(const char *);
    int (*rename)(const char *, const char *);
    int (*posix_fadvise)(int, off_t, off_t, int);
    int (*dup)(int);
    int (*dup2)(int, int);
    FILE *(*fopen)(const char *, const char *);
    int (*mkdir)(const char *, mode_t);
};

extern struct real_calls real;
extern bool real_bound;
void real_bind(void);

/* Constructors of other libraries may call in before ours has run. */
static inline void ready(void)
{
    if (__builtin_expect(!real_bound, 0)) real_bind();
}

#pragma GCC visibility pop
#endif
