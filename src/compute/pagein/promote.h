/* Keeps a standby from becoming a primary by PostgreSQL's own means. */
#ifndef OPENAURORA_PAGEIN_PROMOTE_H
#define OPENAURORA_PAGEIN_PROMOTE_H

#include <stdbool.h>

#pragma GCC visibility push(hidden)

/* Whether this is the file whose presence promotes a standby (PROMOTE_SIGNAL_FILE, xlogrecovery.c); errno is EPERM then, and the log says what to do. */
bool refuses_promotion(const char *path);

#pragma GCC visibility pop
#endif
