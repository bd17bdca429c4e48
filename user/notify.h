/* SPDX-License-Identifier: Apache-2.0 */
/* Word to the service manager, by hand: one datagram, see sd_notify(3). */
#ifndef TELLTALE_NOTIFY_H
#define TELLTALE_NOTIFY_H

/* state: "READY=1", "STOPPING=1". Does nothing where NOTIFY_SOCKET names no socket. */
void notify_manager(const char *state);

#endif
