/* Client side of the page agent's protocol (PROTOCOL.md). One connection per process, made on first need. */
#ifndef OPENAURORA_PAGEIN_AGENT_H
#define OPENAURORA_PAGEIN_AGENT_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

#define BLOCK_SIZE 8192
/* Longest run in one FETCH, in blocks; the agent refuses more. */
#define RUN_MAX 128

/* Sets the socket path (kept, so it must outlive the process's environment) and the patience for one operation. */
void agent_configure(const char *socket_path, int timeout_ms);

/* Monotonic clock, milliseconds. */
int64_t agent_now_ms(void);

/* When an operation that starts now has to give up. */
int64_t agent_deadline(void);

/*
 * Fetches `count` (1..RUN_MAX) blocks of the file `rel` (path below the data directory). Retries until `deadline_ms`.
 * Returns `count` pages, valid until the next call, aligned for direct I/O; or NULL with the reason in `why`.
 * The caller holds agent_lock().
 */
const char *agent_fetch(const char *rel, uint32_t first, uint32_t count, int64_t deadline_ms, char *why, size_t why_size);

/* Says that blocks will be wanted soon. Never waits, never fails. */
void agent_hint(const char *rel, uint32_t first, uint32_t count);

/* Makes a file's content durable in the volume. 0, or -1 with the reason in `why`. */
int agent_put_file(const char *name, const char *content, uint32_t size, char *why, size_t why_size);

void agent_lock(void);
void agent_unlock(void);

#pragma GCC visibility pop
#endif
