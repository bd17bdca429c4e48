/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols, those with the surest signature first. */
#include "proto/proto.h"

extern const struct proto proto_http2;

const struct proto *const proto_registry[] = {
	&proto_http2,
	NULL,
};
