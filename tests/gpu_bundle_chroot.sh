#!/usr/bin/env bash
# gpu_bundle_chroot.sh BUNDLE [ROOT] -- the bundle in a bare system: unpacked there, scripts/gpu-check
# --dry-run --build must pass with gcc, make, cmake, ninja, Python and this machine's CUDA toolkit, and
# nothing else: no network, none of our libraries, no git, no GPU.
#
# ROOT is a folder with such a system; without it debootstrap makes one of SUITE (bookworm), which takes the
# network, three minutes and 700 MB. It is not changed: what is written lands in memory. Not part of CTest:
# it needs root. Exit status: 0 passed, or SKIP; 1 failed.
set -euo pipefail

skip()
{
    echo "SKIP gpu_bundle_chroot: $*"
    exit 0
}
[ $# -ge 1 ] || { echo "usage: gpu_bundle_chroot.sh BUNDLE [ROOT]" >&2; exit 2; }
bundle=$(realpath "$1")
[ "$(id -u)" = 0 ] || skip "this is not root"
unshare -mn true 2>/dev/null || skip "there are no namespaces to be had"
toolkit=$(dirname "$(dirname "$(realpath "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")")
[ -x "$toolkit/bin/nvcc" ] || skip "there is no CUDA toolkit here"

made=
if [ $# -ge 2 ]; then
    root=$(realpath "$2")
else
    command -v debootstrap >/dev/null || skip "there is neither a ROOT nor debootstrap"
    made=$(mktemp -d)
    trap 'rm -rf --one-file-system "$made"' EXIT
    root=$made
    debootstrap --variant=minbase --include=gcc,g++,make,cmake,ninja-build,python3,xz-utils \
        "${SUITE:-bookworm}" "$root" >"$made.log" 2>&1 || skip "debootstrap: $(tail -1 "$made.log")"
    rm -f "$made.log"
fi
for tool in gcc g++ make cmake ninja python3 xz; do
    [ -x "$root/usr/bin/$tool" ] || { echo "gpu_bundle_chroot: $root has no $tool" >&2; exit 1; }
done

# All that is mounted is gone when this shell ends: the namespace is its own.
export bundle root toolkit
unshare -mn bash -euo pipefail <<'END'
layer=$(mktemp -d)
mount -t tmpfs none "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
cd "$layer/root"
mkdir -p ".$toolkit" usr/local home/check
[ -e usr/local/cuda ] || ln -s "$toolkit" usr/local/cuda
mount --bind "$toolkit" ".$toolkit"
mount -o remount,bind,ro ".$toolkit"
mount -t proc none proc
mount --bind /dev dev
cp "$bundle" home/check/bundle.tar.xz
chroot . env -i HOME=/home/check PATH=/usr/local/cuda/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -eu <<'INSIDE'
cd /home/check
if ls /usr/lib/x86_64-linux-gnu | grep -E 'dnnl|hdf5|cmocka|libcuda\.so'; then
    echo "gpu_bundle_chroot: this system has what it should lack" >&2
    exit 1
fi
if python3 -c 'import socket; socket.create_connection(("1.1.1.1", 53), 1)' 2>/dev/null; then
    echo "gpu_bundle_chroot: there is a network" >&2
    exit 1
fi
size=$(wc -c <bundle.tar.xz)
tar -xJf bundle.tar.xz
cd atelier-gpu
cat prebuilt/about.txt
scripts/gpu-check --dry-run --build --programs prebuilt --seconds 1200 --out /home/check/out
ls -l /home/check/out
echo "gpu_bundle_chroot: passed on $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release), $(ldd --version | head -1)," \
    "a bundle of $size bytes"
INSIDE
END
