#!/bin/busybox sh
# The guest's first process: mounts, loads the modules, runs the plan, turns the machine off.
# The kernel's console is the first serial line, the tests speak on the second.
/bin/busybox mkdir -p /proc /sys /tmp /run /sbin
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracing /sys/kernel/tracing
ln -s /proc/self/fd /dev/fd
ifconfig lo 127.0.0.1 netmask 255.0.0.0 up
ulimit -n 65536
for module in /modules/*.ko; do
    insmod "$module" || echo "cannot load $module"
done
exec >/dev/ttyS1 2>&1 </dev/null
echo "booted $(uname -r) in $(cut -d' ' -f1 /proc/uptime) s, with $(lsmod | tail -n +2 | wc -l) modules"
outcome=0
# run FOLDER BINARY: runs the tests that BINARY.tests names.
run() {
    # Each process that uses aws-lc begins by gathering the jitter of the processor's clock, which takes it half a second
    # in emulation; not where the machine says whether it was cloned, as this one then does: never.
    [ "$HERALD_COUNT" = 1 ] || printf '\0\0\0\0' >/dev/sysgenid
    mkdir -p "$1" && cd "$1" || outcome=1
    CARGO_MANIFEST_DIR="$1" xargs "$2" --exact --show-output --test-threads=1 <"$2.tests" || outcome=1
}
. /plan.sh
echo "ran for $(cut -d' ' -f1 /proc/uptime) s"
[ "$outcome" = 0 ] && echo "every suite ended well"
poweroff -f
