/* SPDX-License-Identifier: Apache-2.0 */
/* Figures about this process for /metrics, and word to the service manager. */
#ifndef TELLTALE_SELF_H
#define TELLTALE_SELF_H

void self_register(void);
void self_unregister(void);

/* Tells the service manager, where NOTIFY_SOCKET names one (sd_notify(3)): "READY=1". */
void self_notify(const char *state);

#endif
