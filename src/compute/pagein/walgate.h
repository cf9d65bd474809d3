/*
 * The WAL gate: how far PostgreSQL may write ahead of what the daemon has received from it. Commits wait for storage by themselves; what is
 * written without a commit (a bulk load) would otherwise fill the local disk while storage is slow or away.
 */
#ifndef OPENAURORA_PAGEIN_WALGATE_H
#define OPENAURORA_PAGEIN_WALGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* Bytes of WAL segments before a descriptor's file, plus one; 0 for any other file. */
extern uint64_t wal_begin[];
#define WAL_FD_MAX 65536

/* `keeper`: the daemon that writes the file, 0 if nobody can tell. 0, or -1 with errno when the file cannot be used. */
int walgate_configure(const char *path, pid_t keeper);
void walgate_opened(int fd, const char *path);
void walgate_wait(uint64_t end);

static inline void walgate_closed(int fd)
{
    if (fd >= 0 && fd < WAL_FD_MAX && wal_begin[fd]) wal_begin[fd] = 0;
}

/* Returns when `size` bytes at `offset` may be written. */
static inline void walgate_pass(int fd, off_t offset, size_t size)
{
    if (fd >= 0 && fd < WAL_FD_MAX && wal_begin[fd]) walgate_wait(wal_begin[fd] - 1 + (uint64_t) offset + size);
}

#pragma GCC visibility pop
#endif
