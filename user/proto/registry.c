/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols, those with the surest signature first. */
#include "proto/proto.h"

extern const struct proto proto_dns;
extern const struct proto proto_http;
extern const struct proto proto_http2;
extern const struct proto proto_mysql;
extern const struct proto proto_postgres;
extern const struct proto proto_redis;

const struct proto *const proto_registry[] = {
	&proto_http2, &proto_http, &proto_redis, &proto_dns, &proto_postgres, &proto_mysql, NULL,
};
