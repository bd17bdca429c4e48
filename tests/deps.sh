#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that building and testing need, and only those that are missing.
#
#	deps.sh [build|test]	build: what `make` needs; test (the default): that and the tests'
#	deps.sh list		the table below
#
# Needs root only when something is missing. Servers that it installs are neither started nor
# left enabled: the tests start their own, on loopback, with their own configuration.
set -u
export LC_ALL=C

# set, package, a file that does as well (- for none), why
rows() {
	sed 's/	/ /g; s/  */ /g' <<'END'
build gcc			-			compiles user space
build libc6-dev			-			the C library to compile against
build make			-			runs the build
build git			-			says which version is being built
build pkg-config		/usr/bin/pkg-config	asks libraries for their flags
build clang			/usr/bin/clang		compiles the kernel side to BPF
build llvm			/usr/bin/llvm-strip	strips BPF objects
build bpftool			/usr/sbin/bpftool	links BPF objects, makes the skeleton
build libbpf-dev		-			loads and attaches BPF programs
build libelf-dev		-			reads ELF files: symbols, notes
build zlib1g-dev		-			gzip of exported spans
build libprotobuf-c-dev	-			encodes OTLP
build protobuf-c-compiler	-			turns the .proto files into C
build libyaml-dev		-			reads the configuration file
build libjansson-dev		-			writes and reads JSON
build libcurl4-gnutls-dev	-			posts OTLP over HTTP
build libgnutls28-dev		-			TLS of OTLP/gRPC
build libmicrohttpd-dev	-			serves /metrics and the API, receives OTLP/HTTP
build libnghttp2-dev		-			receives and exports OTLP/gRPC
build libsqlite3-dev		-			contains the store's blocks
build libzstd-dev		-			compresses the store's columns; zstd bodies
build libpcre2-dev		-			rules of redaction, regular expressions of queries
build libsodium-dev		-			encrypts the store at rest, keyed hashes
build librdkafka-dev		-			exports to Kafka
build libxxhash-dev		-			hashes
build uthash-dev		-			hash tables and lists
test libcmocka-dev		-			unit tests
test libclang-rt-14-dev	-			sanitizers and fuzzing with clang
test clang-format		/usr/bin/clang-format	checks the format
test cppcheck			-			static analysis
test python3			-			test harness and test services
test curl			-			HTTP client under test, HTTPS too
test openssl			-			makes the certificate of the HTTPS tests
test nginx-light		/usr/sbin/nginx		web server and proxy under test
test redis-server		/usr/bin/redis-server	Redis under test
test postgresql-15		-			PostgreSQL under test
test postgresql-client-15	-			psql under test
test mariadb-server-core	-			MariaDB under test (no service comes with it)
test mariadb-client-core	-			its client
test nodejs			/usr/bin/node		event loop under test
test npm			/usr/bin/npm		installs the SDKs, the ClickHouse engine and the grammar that tests compare with
test dnsmasq-base		-			DNS server under test
test bind9-dnsutils		-			dig, a DNS client
test liburing-dev		-			io_uring server under test
test iproute2			/usr/sbin/tc		a network that loses packets
test wrk			-			saturation load in the benchmark
test qemu-system-x86		-			other kernels
test busybox-static		-			first process of a guest
test cpio			-			a guest's file system
test binutils			-			takes type information out of a kernel
test xz-utils			-			unpacks kernels
test zstd			-			unpacks kernels
test lz4			-			unpacks kernels
test gcc-aarch64-linux-gnu	-			compiles user space for arm64
test libc6-dev-arm64-cross	-			its C library
END
}

want=${1:-test}
case $want in
build|test) ;;
list) rows | while read -r set pkg _ why; do printf '%-6s %-24s %s\n' "$set" "$pkg" "$why"; done; exit 0 ;;
*) sed -n '4,10s/^# \?//p' "$0" >&2; exit 2 ;;
esac

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

command -v dpkg-query >/dev/null || { echo "deps: not a Debian system; these packages, or their like, are needed:" >&2; "$0" list >&2; exit 1; }

missing=()
while read -r set pkg file why; do
	[ "$want" = build ] && [ "$set" != build ] && continue
	installed "$pkg" && continue
	[ "$file" != - ] && [ -x "$file" ] && continue
	missing+=("$pkg")
	printf '  %-24s %s\n' "$pkg" "$why"
done < <(rows) >&2

[ ${#missing[@]} = 0 ] && exit 0
echo "deps: ${#missing[@]} package(s) to install, listed above" >&2
[ "$(id -u)" = 0 ] || { echo "deps: not root; run: sudo make deps" >&2; exit 1; }

# invoke-rc.d asks this program before it starts a service; 101 says no
policy=/usr/sbin/policy-rc.d
saved=''
restore() {
	[ -n "$saved" ] || return 0
	if [ -e "$saved" ]; then mv "$saved" $policy; else rm -f $policy; fi
	saved=''
}
trap restore EXIT
trap 'exit 130' INT TERM
saved=$policy.before-telltale
[ ! -e $policy ] || cp -a $policy $saved
printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy

export DEBIAN_FRONTEND=noninteractive
wants=/etc/systemd/system/multi-user.target.wants
before=" $(cd $wants 2>/dev/null && echo *) "
install() { apt-get install -q -y --no-install-recommends "${missing[@]}"; }
# the lists may be old, or not there yet
install || { apt-get update -q && install; } || { echo "deps: apt-get could not install: ${missing[*]}" >&2; exit 1; }

# with systemd, what came with these packages stays off at the next boot too
if [ -d /run/systemd/system ]; then
	for unit in "$wants"/*; do
		unit=${unit##*/}
		[[ $before == *" $unit "* ]] && continue
		systemctl disable -q "$unit" && echo "deps: disabled $unit" >&2
	done
fi
