#!/bin/sh
# Builds MPICH from Debian's own source package with the device that can spawn, open ports and connect: the MPICH
# that Debian ships (ch4:ucx) fails these calls before a word reaches PMI. Into a cache outside the checkout, once:
# about 15 minutes on two cores. test/interop/dynamic.test.ts uses it where it is there.
#
#   test/interop/build-mpich.sh          builds what is not there yet, and prints its folder
#
# Needs Debian's or Ubuntu's apt-get and dpkg-dev, xz-utils, a C compiler, make and python3.
set -eu

version=4.0.2-3
cache="${WIREUP_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wireup}"
prefix="$cache/mpich-$version-ch3-nemesis"

if [ -e "$prefix/bin/mpicc" ]; then
  echo "$prefix"
  exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# Lists of our own: the machine's need not know of sources, and are not touched.
mkdir -p lists/partial archives
echo 'deb-src http://deb.debian.org/debian bookworm main' > sources.list
apt() {
  apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists" \
    -o APT::Sandbox::User="$(id -un)" "$@"
}
apt update >&2
apt source --download-only "mpich=$version" >&2
mkdir source
tar xf mpich_*.orig.tar.xz -C source --strip-components=1
cd source

# The library and its compiler wrapper are all that is wanted: the launcher is ours.
./configure --prefix="$prefix" --with-device=ch3:nemesis --with-pm=none --disable-fortran --disable-cxx --disable-romio \
  --enable-shared --disable-static --enable-fast=O1 --disable-doc >configure.log 2>&1 || { tail -n 40 configure.log >&2; exit 1; }
make -j"$(nproc)" >make.log 2>&1 || { tail -n 40 make.log >&2; exit 1; }
make install >install.log 2>&1 || { tail -n 40 install.log >&2; exit 1; }
echo "$prefix"
