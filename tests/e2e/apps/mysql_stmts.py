# SPDX-License-Identifier: Apache-2.0
"""Prepared statements of the binary protocol, by MariaDB's C library.

    mysql_stmts.py PORT TIMES SQL...    each is prepared once and executed so often

Exit status 77: no such library.
"""
import ctypes
import sys

try:
    lib = ctypes.CDLL("libmariadb.so.3")
except OSError:
    sys.exit(77)
for name in ("mysql_init", "mysql_real_connect", "mysql_stmt_init"):
    getattr(lib, name).restype = ctypes.c_void_p
for name in ("mysql_error", "mysql_stmt_error"):
    getattr(lib, name).restype = ctypes.c_char_p


def main():
    port, times = int(sys.argv[1]), int(sys.argv[2])
    conn = ctypes.c_void_p(lib.mysql_init(None))
    if not lib.mysql_real_connect(conn, b"127.0.0.1", b"root", b"", b"mysql", port, None, ctypes.c_ulong(0)):
        sys.exit(lib.mysql_error(conn).decode())
    for sql in sys.argv[3:]:
        stmt = ctypes.c_void_p(lib.mysql_stmt_init(conn))
        if lib.mysql_stmt_prepare(stmt, sql.encode(), ctypes.c_ulong(len(sql.encode()))):
            print(lib.mysql_stmt_error(stmt).decode())
        else:
            for _ in range(times):
                if lib.mysql_stmt_execute(stmt):
                    print(lib.mysql_stmt_error(stmt).decode())
                else:
                    lib.mysql_stmt_store_result(stmt)
        lib.mysql_stmt_close(stmt)
    lib.mysql_close(conn)


main()
