/*
 * Remote maps: which blocks of a file are still in storage only, and how they come here. The rules that keep it right:
 *
 *   - A block is REMOTE or PRESENT; PRESENT is final. A map is read without a lock (mapped read-only), and only ever changed
 *     by a holder of the map's file lock on that block's byte.
 *   - Filling, overwriting and truncating REMOTE blocks all happen under that lock, so a late fill cannot land on a newer page.
 *   - It is an open-file-description lock: the kernel drops it when its holder dies, so nobody waits for the dead, and a
 *     block that a dead process left half filled is still REMOTE.
 */
#ifndef OPENAURORA_PAGEIN_MAPS_H
#define OPENAURORA_PAGEIN_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "agent.h"

#pragma GCC visibility push(hidden)

/* Map bytes. 1 is kept free. */
enum { REMOTE = 0, PRESENT = 2 };

/* What is known of an open file that has a map. Shared by duplicates of the descriptor. */
struct tracked {
    const uint8_t *map;
    uint32_t nblocks;
    int refs;
    bool writable;
    dev_t map_dev;
    ino_t map_ino;
    char rel[]; /* path below the data directory */
};

/* Blocks [first, end) of the mapped part of a file. */
struct range {
    uint32_t first, end;
};

extern bool maps_active;

/* Takes copies: postgres writes process titles over its environment. -1 when a path is too long. */
int maps_configure(const char *maps, const char *data);

/* One line in the server log. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* Path below the data directory, or NULL for one outside it. */
const char *below_data_dir(const char *path);
/* The same for a file that may have a map, else NULL. Always NULL while there are no maps. */
const char *mappable(const char *path);
/* Path of a file's map into out[PATH_MAX]. 0, or -1 with errno. */
int map_path(char *out, const char *rel);
void remove_map(const char *rel);

/* The state of a descriptor, or NULL for a local file. */
struct tracked *tracked(int fd);
/* Looks for the map of a file just opened. 0 with or without one; -1 with errno: then the file must not be used. */
int track(int fd, const char *rel, int flags);
/* Lets `to` stand for the same file as `from`. -1 with errno when it cannot. */
int track_duplicate(int from, int to);
void forget(int fd);

static inline bool is_present(const struct tracked *t, uint32_t block)
{
    return __atomic_load_n(&t->map[block], __ATOMIC_ACQUIRE) == PRESENT;
}

static inline bool all_present(const struct tracked *t, struct range r)
{
    for (uint32_t b = r.first; b < r.end; b++)
        if (!is_present(t, b)) return false;
    return true;
}

struct range blocks_of(const struct tracked *t, off_t offset, size_t size);
/* First run of REMOTE blocks in `r`, at most RUN_MAX long; empty when there is none. */
struct range remote_run(const struct tracked *t, struct range r);
size_t total_size(const struct iovec *iov, int count);

/* Fetches what is REMOTE in a byte range. One memory load a block when nothing is. 0, or -1 with errno EIO. */
int ensure_present(const struct tracked *t, int fd, off_t offset, size_t size);

/*
 * Writes over blocks of which some are REMOTE: whole ones need not be fetched first, the ones at the edges may. All or
 * nothing for the caller: after a failed write they are still REMOTE, so whatever reached the file is overwritten by their fill.
 */
ssize_t write_remote(const struct tracked *t, int fd, const struct iovec *iov, int count, off_t offset);

/* What is cut off is PRESENT from then on: if the file grows again, those blocks are new. */
int truncate_remote(const struct tracked *t, int fd, off_t size);

#pragma GCC visibility pop
#endif
