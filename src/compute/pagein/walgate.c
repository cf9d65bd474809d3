#define _GNU_SOURCE
#include "walgate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "maps.h"
#include "real.h"

#define WAIT_US_MIN 200
#define WAIT_US_MAX 10000
#define NAME_SIZE 24 /* timeline, and twice eight digits for the segment */

/* Little-endian; the daemon writes `limit` as it goes. */
struct gate {
    uint64_t limit; /* nothing beyond this LSN may be written; 0: anything may */
    uint64_t segment_size;
};

uint64_t wal_begin[WAL_FD_MAX];
static const volatile struct gate *gate;
static pid_t keeper;

int walgate_configure(const char *path, pid_t pid)
{
    keeper = pid;
    int fd = real.open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    void *mapped = mmap(NULL, sizeof *gate, PROT_READ, MAP_SHARED, fd, 0);
    real.close(fd);
    if (mapped == MAP_FAILED) return -1;
    gate = mapped;
    return 0;
}

void walgate_opened(int fd, const char *path)
{
    static const char folder[] = "pg_wal/";
    const char *rel = gate && fd < WAL_FD_MAX ? below_data_dir(path) : NULL;
    if (!rel || strncmp(rel, folder, sizeof folder - 1) != 0) return;
    const char *name = rel + sizeof folder - 1;
    if (strlen(name) != NAME_SIZE || strspn(name, "0123456789ABCDEF") != NAME_SIZE) return;
    char high[9] = {0}, low[9] = {0};
    memcpy(high, name + 8, 8);
    memcpy(low, name + 16, 8);
    wal_begin[fd] = ((uint64_t) strtoul(high, NULL, 16) << 32) + strtoul(low, NULL, 16) * gate->segment_size + 1;
}

/*
 * Whoever waits here may hold WALWriteLock, and then all who write WAL wait with it. The daemon does not: it receives what was flushed, which
 * reaches at least to the beginning of the segment being written, and lets PostgreSQL be more than a segment ahead. A signal that is to end
 * the process at once (SIGQUIT, SIGKILL) does so here too; and when the daemon has died, nobody will ever receive what is written.
 */
void walgate_wait(uint64_t end)
{
    long wait_us = WAIT_US_MIN;
    int saved = errno;
    for (;;) {
        uint64_t limit = gate->limit;
        if (limit == 0 || end <= limit) break;
        struct timespec pause = {0, wait_us * 1000};
        nanosleep(&pause, NULL);
        if (wait_us < WAIT_US_MAX) wait_us *= 2;
        else if (keeper > 0 && kill(keeper, 0) < 0 && errno == ESRCH) _exit(1);
    }
    errno = saved;
}
