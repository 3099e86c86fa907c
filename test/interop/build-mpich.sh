#!/bin/sh
# Builds an MPICH that can spawn, open ports and connect, from the source package of the machine's own distribution. The MPICH of
# Debian (ch4:ucx) fails these calls before it sends a PMI request. The build is kept in a cache outside the checkout, and takes
# about 15 minutes on two cores. test/interop/dynamic.test.ts uses it if it exists.
#
#   test/interop/build-mpich.sh          builds it if it does not exist, and prints its folder
#
# Needs Debian's or Ubuntu's apt-get and dpkg-dev, xz-utils, a C compiler, make and python3.
set -eu

cache="${WIREUP_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wireup}"
prefix="$cache/mpich-ch3-nemesis"

if [ -e "$prefix/bin/mpicc" ]; then
  echo "$prefix"
  exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# A configuration of apt for source packages, with the package sources of the machine. Most machines do not list source packages.
# Their own configuration is not changed.
mkdir -p sources.list.d lists/partial cache/archives/partial
if [ -e /etc/apt/sources.list ]; then sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > sources.list; fi
for list in /etc/apt/sources.list.d/*.list; do
  if [ -e "$list" ]; then sed -n 's/^deb /deb-src /p' "$list" > "sources.list.d/${list##*/}"; fi
done
for list in /etc/apt/sources.list.d/*.sources; do
  if [ -e "$list" ]; then sed 's/^Types:.*/Types: deb-src/' "$list" > "sources.list.d/${list##*/}"; fi
done
apt() {
  apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/sources.list.d" \
    -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}
# Some package sources may have no source packages. Only the one with MPICH must.
apt update >&2 || true
apt source --download-only mpich >&2
mkdir source
tar xf mpich_*.orig.tar.xz -C source --strip-components=1 --no-same-owner
cd source

# Only the library and its compiler wrapper are needed, because the launcher is wireup.
./configure --prefix="$prefix" --with-device=ch3:nemesis --with-pm=none --disable-fortran --disable-cxx --disable-romio \
  --enable-shared --disable-static --enable-fast=O1 --disable-doc >configure.log 2>&1 || { tail -n 40 configure.log >&2; exit 1; }
make -j"$(nproc)" >make.log 2>&1 || { tail -n 40 make.log >&2; exit 1; }
make install >install.log 2>&1 || { tail -n 40 install.log >&2; exit 1; }
echo "$prefix"
