# SPDX-License-Identifier: Apache-2.0
"""librdkafka's mock broker in a process of its own: prints its address, then obeys "down" and "up", a line each."""
import ctypes
import ctypes.util
import sys

kafka = ctypes.CDLL(ctypes.util.find_library("rdkafka") or "librdkafka.so.1")
for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
    getattr(kafka, name).restype = ctypes.c_void_p
kafka.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p

why = ctypes.create_string_buffer(256)
host = ctypes.c_void_p(kafka.rd_kafka_new(0, ctypes.c_void_p(kafka.rd_kafka_conf_new()), why, 256))
cluster = ctypes.c_void_p(kafka.rd_kafka_mock_cluster_new(host, 1))
print(kafka.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
for line in sys.stdin:
    {"down": kafka.rd_kafka_mock_broker_set_down, "up": kafka.rd_kafka_mock_broker_set_up}[line.strip()](cluster, 1)
    print(line.strip(), flush=True)
