# The first process of a node, in namespaces of its own, before it becomes `pause`. It gives the node
# a root of its own: the programs of this machine, and the cluster's directory for all that is
# written. Nothing that is mounted here is seen from outside, or stays when the node has ended.
#
# Arguments: the directory of the cluster, that of the components, the etcd binary, then those of pause.
set -eu
cluster=$1 components=$2 etcd=$3
shift 3

# Whoever started this closes the pipe if it ends before it has written down that it did.
read -r _

root=$cluster/root
mkdir -p "$root" "$cluster/var/lib" "$cluster/var/log" "$cluster/tmp"
mount -t tmpfs -o mode=755 druid-node "$root"
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then
        cp -P "/$name" "$root/"
    elif [ -d "/$name" ]; then
        mkdir "$root/$name"
        mount --rbind "/$name" "$root/$name"
    fi
done
mkdir "$root/usr" "$root/etc" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/var" "$root/tmp" \
    "$root/root" "$root/node" "$root/components" "$root/outside"
: >"$root/etcd"
mount --rbind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
# Stores are directories in /etc/gardener, if nobody says otherwise; those of the node are its own.
mkdir "$root/etc-of-machine" "$root/etc/gardener"
mount --rbind /etc "$root/etc-of-machine"
mount -o remount,bind,ro "$root/etc-of-machine"
for path in /etc/* /etc/.[!.]*; do
    name=${path#/etc/}
    if [ "$name" != gardener ] && { [ -e "$path" ] || [ -L "$path" ]; }; then
        ln -s "/etc-of-machine/$name" "$root/etc/$name"
    fi
done
mkdir -p "$cluster/var/gardener"
mount --bind "$cluster/var/gardener" "$root/etc/gardener"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --bind "$cluster/var" "$root/var"
mount --bind "$cluster/tmp" "$root/tmp"
mount --bind "$cluster" "$root/node"
mount --bind "$components" "$root/components"
mount --bind "$etcd" "$root/etcd"
ln -s /run "$root/var/run"

# The kubelet sets these for the whole machine. It sets copies.
mkdir "$root/run/sysctl"
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    if [ -e "/proc/sys/$name" ]; then
        copy=$root/run/sysctl/$(echo "$name" | tr / .)
        cat "/proc/sys/$name" >"$copy"
        mount --bind "$copy" "$root/proc/sys/$name"
    fi
done

cd "$root"
pivot_root . outside
cd /
umount -l /outside
rmdir /outside

hostname node-0
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
: >/run/entered
exec /components/pause "$@"
