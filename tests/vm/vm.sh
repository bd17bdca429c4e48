#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs a command as root under another kernel, in QEMU without hardware acceleration.
#
#	vm.sh [-i] [-c CPUS] [-m MIB] [-t SECONDS] [-f FILE]... KERNEL COMMAND...
#
# KERNEL is a folder of build/vm/ (kernels.sh). The guest's root is build/vm/base.cpio (image.sh);
# each FILE lies in its /test, which is the current directory of COMMAND. -i: one processor, and time
# is counted in instructions, one a nanosecond. Standard output and error
# come back together; the exit status is the command's, 124 past the time limit, 125 when the
# machine did not get as far as its end.
set -u

top=$(realpath "$(dirname "$0")/../..")
vm=$top/build/vm
# Beside much else a guest mistakes the frequency of its TSC, up to six times: its clock is another.
cpus=2 mem=1024 limit=300 clock=hpet icount=() files=()
while getopts ic:m:t:f: o; do
	case $o in
	i) cpus=1 clock=tsc icount=(-icount 'shift=0,sleep=off') ;;
	c) cpus=$OPTARG ;;
	m) mem=$OPTARG ;;
	t) limit=$OPTARG ;;
	f) files+=("$(realpath "$OPTARG")") ;;
	*) exit 125 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || { sed -n '4,13s/^# \?//p' "$0" >&2; exit 125; }
kernel=$vm/$1
shift
[ -s "$kernel/vmlinuz" ] || { echo "vm: no kernel in $kernel" >&2; exit 125; }
[ -s "$vm/base.cpio" ] || { echo "vm: no $vm/base.cpio" >&2; exit 125; }

# QEMU 7.2's emulation of cmpxchg16b crashes 6.12 early; 7.x needs it for its BPF allocator
cpu=max,la57=off
[ "$(cat "$kernel/version")" = 6.12 ] && cpu=$cpu,cx16=off

run=$(mktemp -d) || exit 125
qemu=''
cleanup() {
	[ -n "$qemu" ] && kill "$qemu" 2>/dev/null && wait "$qemu" 2>/dev/null
	rm -rf "$run"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

mkdir -p "$run/add/test"
for f in "${files[@]}"; do cp -L "$f" "$run/add/test/"; done
printf '%q ' "$@" >"$run/add/test/command"
(cd "$run/add" && find test -mindepth 1 | cpio -o -H newc --quiet --owner=0:0) >"$run/add.cpio"
cat "$vm/base.cpio" "$run/add.cpio" >"$run/initrd"
rm -rf "$run/add" "$run/add.cpio"

# One thread for all processors: with one each, QEMU 7.2 may go on running its translation of code that
# another processor has changed meanwhile. Seen: the breakpoint that attaching had put into __schedule and
# taken out again was hit for ever.
timeout --foreground "$limit" qemu-system-x86_64 -accel tcg,thread=single -cpu "$cpu" -smp "$cpus" -m "$mem" \
	-nodefaults -no-user-config -display none -no-reboot \
	-kernel "$kernel/vmlinuz" -initrd "$run/initrd" \
	-append "console=ttyS0 quiet panic=-1 lsm=lockdown,yama,bpf random.trust_cpu=on mitigations=off no_timer_check tsc=reliable clocksource=$clock" \
	-chardev file,id=console,path="$run/console" -serial chardev:console \
	-chardev file,id=out,path="$run/out" -serial chardev:out \
	"${icount[@]}" </dev/null 2>"$run/qemu.log" &
qemu=$!
wait $qemu
rc=$?
qemu=''
status=$(sed -n 's/^@status //p' "$run/out" 2>/dev/null)
sed '/^@status /d' "$run/out" 2>/dev/null
if [ $rc = 124 ]; then
	echo "vm: time limit of $limit s" >&2
	tail -n 20 "$run/console" >&2
	exit 124
fi
if [ -z "$status" ]; then
	{ tail -n 40 "$run/console"; cat "$run/qemu.log"; echo "vm: the machine stopped without a status (qemu exit $rc)"; } >&2
	exit 125
fi
exit "$status"
