#!/bin/sh
# Installs the missing tools and libraries for building and testing. Does nothing if none is missing.
#
#     scripts/setup.sh [build] [test] [win] [wine] [kernels] [kernels-smp]     default: build test
#
# build is for `make` and `make demo`, test for `make test` and `make lint`, win for `make windows`,
# wine for `make test-windows`, kernels and kernels-smp for `make test-kernels` and
# `make test-kernels-smp`. Uses apt, as root or with passwordless sudo. Otherwise lists what to install
# and exits with 1.
set -eu
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- build test

say() { printf 'setup: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
sshd=build/deps/sshd

commands='' # that are missing
packages='' # that have them
wishes=''   # packages that are fine to have
server=''   # the package of sshd, where it is to be unpacked
need() { # COMMAND PACKAGE
	have "$1" || {
		commands="$commands $1"
		packages="$packages $2"
	}
}

# The libraries of the program: packages of the system if their versions are suitable, else the tools
# with which scripts/build-deps.sh builds them.
need_libraries() {
	pkg-config --exists libmnl 2>/dev/null || {
		commands="$commands libmnl"
		packages="$packages libmnl-dev"
	}
	[ ! -f build/deps/linux/stamp ] || return 0
	! scripts/build-deps.sh --system || return 0
	if have apt-cache && fits "$(candidate libmbedtls-dev)"; then
		commands="$commands mbedTLS-3.6 libuv cJSON"
		packages="$packages libmbedtls-dev libuv1-dev libcjson-dev"
	else
		need_own_build
	fi
}

need_own_build() {
	need cmake cmake
	need ninja ninja-build
	need dpkg-source dpkg-dev
}

# The kernel tests run in user-mode Linux. It is installed if apt has it; otherwise the tests are
# skipped.
wish_kernel() {
	have apt-get || return 0
	for pair in linux.uml:user-mode-linux modprobe:kmod ip:iproute2 ping:iputils-ping; do
		! PATH="$PATH:/usr/sbin:/sbin" have "${pair%%:*}" || continue
		! may_have user-mode-linux || wishes="$wishes ${pair#*:}"
	done
}

# What scripts/kernels.sh needs beside that; smp also builds a kernel.
wish_kernels() { # [smp]
	have apt-get || return 0
	wish_kernel
	have patchelf || wishes="$wishes patchelf"
	[ "${1-}" = smp ] || return 0
	for pair in flex:flex bison:bison bc:bc xz:xz-utils strip:binutils; do
		have "${pair%%:*}" || wishes="$wishes ${pair#*:}"
	done
}

# The Windows programs are built with MinGW and run under Wine; otherwise their tests are skipped.
wish_windows() {
	have apt-get || return 0
	have x86_64-w64-mingw32-gcc || wishes="$wishes gcc-mingw-w64-x86-64"
	for pair in cmake:cmake ninja:ninja-build dpkg-source:dpkg-dev; do
		have "${pair%%:*}" || wishes="$wishes ${pair#*:}"
	done
	have_wine || ! may_have wine64 || wishes="$wishes wine64"
}

# Version 14 decides the layout of the sources. Newer systems have a package of that version, or none.
wish_clang_format() {
	have apt-get && ! have clang-format-14 || return 0
	! clang-format --version 2>/dev/null | grep -q 'version 14\.' || return 0
	! may_have clang-format-14 || wishes="$wishes clang-format-14"
}

# Only root can run the tests of labs through ssh.
wish_sshd() {
	have apt-get && [ "$(id -u)" = 0 ] || return 0
	! PATH="$PATH:/usr/sbin" have sshd && [ ! -x $sshd/usr/sbin/sshd ] || return 0
	! may_have openssh-server || server=openssh-server
}

# Installing a server would start it. The tests run one that is unpacked here, with the libraries
# of its package that are not installed.
unpack_sshd() {
	rm -rf $sshd.new && mkdir -p $sshd.new/debs/partial || return 1
	apt install -y --no-install-recommends --download-only \
		-o Dir::Cache::archives="$PWD/$sshd.new/debs" $server || return 1
	for deb in "$sshd".new/debs/*.deb; do
		dpkg-deb -x "$deb" $sshd.new || return 1
	done
	rm -rf $sshd.new/debs $sshd && mv $sshd.new $sshd
}

# Debian's package puts no command on the PATH.
have_wine() { have wine64 || have wine || [ -x /usr/lib/wine/wine64 ]; }

# True if apt has the package, or if there are no package lists yet.
may_have() {
	! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || [ "$(candidate "$1")" != '' ]
}

candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *\([^(]\)/\1/p'; }
fits() {
	case $1 in
	3.6.[0-3]-* | 3.6.[0-3]) return 1 ;;
	3.6.*) return 0 ;;
	*) return 1 ;;
	esac
}

# What is missing, by the names of the sets that were asked for.
look() {
	commands='' packages='' wishes='' server=''
	need gcc gcc
	printf '#include <stdio.h>\n' | gcc -E - >/dev/null 2>&1 || packages="$packages libc6-dev"
	need make make
	need pkg-config pkg-config
	need python3 python3
	for set in "$@"; do
		case $set in
		build)
			need_libraries
			;;
		test)
			need clang clang
			wish_clang_format
			need clang-tidy clang-tidy
			need cppcheck cppcheck
			need shellcheck shellcheck
			need openssl openssl
			need spin spin
			need ssh openssh-client
			need faketime faketime
			need tshark tshark
			need tcpdump tcpdump
			need strace strace
			need lintian lintian
			need groff groff
			wish_sshd
			need ip iproute2
			wish_kernel
			wish_windows
			have ansible-playbook || ! may_have ansible-core || wishes="$wishes ansible-core"
			;;
		win)
			need_own_build
			need x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64
			;;
		kernels)
			wish_kernels
			;;
		kernels-smp)
			wish_kernels smp
			;;
		wine)
			have_wine || {
				commands="$commands wine64"
				packages="$packages wine64"
			}
			;;
		*)
			say "unknown set \"$set\": build, test, win, wine, kernels, kernels-smp" >&2
			exit 2
			;;
		esac
	done
}

look "$@"
[ -n "$packages$wishes$server" ] || exit 0

if ! have apt-get; then
	say "missing:$commands" >&2
	say 'this system has no apt: install them with its package manager, and the libraries' >&2
	say 'mbedTLS 3.6.4 or a later 3.6, libuv 1.46 and cJSON 1.7.15, with headers' >&2
	exit 1
fi

sudo=''
if [ "$(id -u)" != 0 ]; then
	if have sudo && sudo -n true 2>/dev/null; then
		sudo='sudo -n'
	elif [ -z "$packages" ]; then
		exit 0
	else
		say "missing:$commands" >&2
		say 'install them as root, and run this again:' >&2
		say "    apt-get update && apt-get install --no-install-recommends$packages" >&2
		exit 1
	fi
fi

apt() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 \
		-o Acquire::Retries=3 "$@" </dev/null
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
say 'reading the package lists'
apt update >"$log" 2>&1 || say 'some package lists could not be updated; using the existing ones'
look "$@" # again: only now is it known what this system's packages are
# The package of clang's sanitizer and fuzzer libraries has the version of clang in its name.
case " $packages " in
*' clang '*)
	rt=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev/p')
	[ -z "$rt" ] || [ "$(candidate "$rt")" = '' ] || packages="$packages $rt"
	;;
esac
if [ -n "$wishes" ]; then
	say "installing$wishes"
	# shellcheck disable=SC2086 # a list of words
	apt install -y --no-install-recommends $wishes >>"$log" 2>&1 ||
		for wish in $wishes; do # one that cannot be installed does not prevent the others
			apt install -y --no-install-recommends "$wish" >>"$log" 2>&1 ||
				say "could not install $wish: tests that need it are skipped"
		done
fi
if [ -n "$packages" ]; then
	say "installing$packages"
	# shellcheck disable=SC2086 # a list of words
	if ! apt install -y --no-install-recommends $packages >>"$log" 2>&1; then
		tail -n 15 "$log" >&2
		say "could not install$packages" >&2
		exit 1
	fi
fi
if [ -n "$server" ]; then
	say "unpacking $server into $sshd"
	unpack_sshd >>"$log" 2>&1 ||
		say "could not unpack $server: tests that need it are skipped"
fi
