#!/bin/bash
# Fetches or builds kernels for the kernel tests: user-mode Linux of several versions, without root.
#
#     kernels.sh list           lists the kernels, and the versions in the cache
#     kernels.sh get NAME       prints the folder of linux.uml and its modules, for SAPAIR_UML
#
#     6.1     Debian 12's package user-mode-linux
#     6.12    Debian 13's
#     7.x     Debian unstable's
#     smp     built from the newest linux-source of Debian 13's backports with
#             tests/kernel/smp.config: several processors, per-CPU SAs, IP-TFS, ESP in TCP, offload
#
# apt checks the signature of the package lists with Debian's keys, and packages against the lists.
# It uses separate lists and a separate cache, and changes nothing on this system.
#
# Exit status 77: the kernel is not available on this machine; the reason is one line on stderr.
# Environment:
#     SAPAIR_KERNELS   the cache, default ~/.cache/sapair-kernels
#     DEBIAN_ARCHIVE   URL of an archive of Debian, default: that of this system
#     DEBIAN_KEYRING   default /usr/share/keyrings/debian-archive-keyring.gpg
#     KEEP=1           keeps source and objects of a build
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
config=$root/tests/kernel/smp.config
cache=${SAPAIR_KERNELS:-${XDG_CACHE_HOME:-${HOME:-$root/build}/.cache}/sapair-kernels}
keyring=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
names='6.1 6.12 7.x smp'
PATH=$PATH:/usr/sbin:/sbin

say() { printf 'kernels: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}
unavailable() {
	say "$*"
	exit 77
}

suite_of() { # NAME
	case $1 in
	6.1) echo bookworm ;;
	6.12) echo trixie ;;
	7.x) echo sid ;;
	smp) echo trixie-backports ;;
	*) die "no kernel \"$1\"; there are: $names" ;;
	esac
}

# --- requirements ------------------------------------------------------------------

check_machine() { # NAME
	local missing='' tool tools='apt-get:apt dpkg-deb:dpkg patchelf:patchelf flock:util-linux'
	[ "$(uname -m)" = x86_64 ] || unavailable "user-mode Linux is for x86-64, this is $(uname -m)"
	command -v apt-get >/dev/null ||
		unavailable "Debian packages this kernel, and this system has no apt-get"
	[ -n "$archive" ] ||
		unavailable "Debian packages this kernel, and this is $(system): set DEBIAN_ARCHIVE"
	[ -r "$keyring" ] || unavailable "no $keyring: install debian-archive-keyring"
	[ "$1" != smp ] ||
		tools='apt-get:apt dpkg-deb:dpkg flock:util-linux gcc:gcc make:make flex:flex bison:bison
			bc:bc xz:xz-utils strip:binutils depmod:kmod'
	for tool in $tools; do
		command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool#*:}"
	done
	[ -z "$missing" ] || unavailable "missing: install$missing"
}

system() {
	# shellcheck disable=SC1091
	(. /etc/os-release && echo "$ID") 2>/dev/null || echo unknown
}

# The archive of this system, if it is Debian: another suite of it has the same host.
find_archive() {
	[ "$(system)" = debian ] || return 0
	sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true
	sed -n 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' /etc/apt/sources.list 2>/dev/null ||
		true
}
archive=${DEBIAN_ARCHIVE:-$(find_archive | sed -n 1p)}

# --- packages -------------------------------------------------------------------------------

# Runs a tool of apt as on a system of the suite.
apt_of() { # SUITE TOOL WORD...
	local dir=$cache/apt/$1 suite=$1 tool=$2
	shift 2
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	: >"$dir/status"
	echo "deb [arch=amd64 signed-by=$keyring] $archive $suite main" >"$dir/sources.list"
	"$tool" -q -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State="$dir" -o Dir::State::status="$dir/status" -o Dir::Cache="$dir" \
		-o APT::Architecture=amd64 -o APT::Sandbox::User="$(id -un)" \
		-o APT::Get::AllowUnauthenticated=false -o Acquire::Languages=none \
		-o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false "$@"
}

fetch_lists() { # SUITE; lists of the last day are reused
	local lists=$cache/apt/$1/lists log=$cache/apt/$1/log
	[ -z "$(find "$lists" -name '*_InRelease' -mmin -1440 2>/dev/null)" ] || return 0
	mkdir -p "$lists"
	apt_of "$1" apt-get -o APT::Update::Error-Mode=any update >"$log" 2>&1 || {
		# A bad signature is not a network failure.
		! grep -Eq 'NO_PUBKEY|BADSIG|not signed|signatures were invalid' "$log" ||
			die "package lists of $1: $(grep -E '^[EW]:' "$log" | head -n 1)"
		unavailable "no package lists of $1: $(grep -E '^[EW]:' "$log" | head -n 1)"
	}
	touch "$lists"/*_InRelease
}

version_of() { # SUITE PACKAGE
	apt_of "$1" apt-cache policy "$2" | sed -n 's/^ *Candidate: //p'
}

source_package() { # SUITE; the newest linux-source-N.N
	apt_of "$1" apt-cache pkgnames linux-source- | grep -x 'linux-source-[0-9.]*' | sort -V |
		tail -n 1
}

unpack() { # SUITE PACKAGE FOLDER
	local dir
	dir=$(mktemp -d "$cache/tmp.XXXXXX")
	(cd "$dir" && apt_of "$1" apt-get download "$2") >&2 ||
		unavailable "could not download $2 of $1"
	mkdir -p "$3"
	dpkg-deb -x "$dir"/*.deb "$3"
	rm -rf "$dir"
}

# The packaged kernel, with the C library of its suite, which may be newer than this system's.
unpack_kernel() { # NAME FOLDER
	local suite libc
	suite=$(suite_of "$1")
	unpack "$suite" user-mode-linux "$2/package"
	unpack "$suite" libc6 "$2/package"
	libc=$(find "$2/package" -name libc.so.6 | head -n 1)
	mkdir "$2/lib"
	cp -L "${libc%/*}"/*.so* "$2/lib/"
	mv "$2/package/usr/bin/linux.uml" "$2/"
	mv "$2/package/usr/lib/uml/modules" "$2/"
	patchelf --set-interpreter "$2/lib/ld-linux-x86-64.so.2" --set-rpath "$2/lib" "$2/linux.uml"
	rm -rf "$2/package"
}

# --- building a kernel --------------------------------------------------------------------

build_kernel() { # FOLDER
	local suite package source=$1/source out=$1/objects log=$1/build.log
	suite=$(suite_of smp)
	package=$(source_package "$suite")
	unpack "$suite" "$package" "$1/package"
	mkdir "$source" "$out"
	xz -dc "$1/package/usr/src/$package.tar.xz" | tar x -C "$source" --strip-components=1
	rm -rf "$1/package"
	say "building $package, which takes some minutes; log: $log"
	run_make KCONFIG_ALLCONFIG="$config" allnoconfig >"$log" 2>&1 || die "no configuration: see $log"
	check_config "$out/.config"
	run_make -j"$(nproc)" linux modules >>"$log" 2>&1 || die "could not build: see $log"
	run_make INSTALL_MOD_PATH="$1/tree" INSTALL_MOD_STRIP=1 modules_install >>"$log" 2>&1 ||
		die "no modules: see $log"
	strip -o "$1/linux.uml" "$out/linux"
	mv "$1/tree/lib/modules" "$1/modules"
	rm -f "$1"/modules/*/build "$1"/modules/*/source
	[ -n "${KEEP:-}" ] || rm -rf "$source" "$out" "$1/tree"
}

# runs make in a clean environment, with $source and $out of the caller
run_make() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$source" ARCH=um O="$out" "$@"
}

# Kconfig silently drops options whose dependencies are off.
check_config() { # RESULT
	local line bad=''
	while read -r line; do
		case $line in
		CONFIG_* | '# CONFIG_'*) grep -qxF -- "$line" "$1" || bad="$bad, $line" ;;
		esac
	done <"$config"
	[ -z "$bad" ] || die "the kernel's configuration lacks ${bad#, }"
}

# --- verbs ----------------------------------------------------------------------------------

folder_of() { # NAME
	local suite version
	suite=$(suite_of "$1")
	if [ "$1" = smp ]; then
		version=$(version_of "$suite" "$(source_package "$suite")")-$(sha256sum <"$config" | cut -c 1-8)
	else
		version=$(version_of "$suite" user-mode-linux)
	fi
	[ -n "${version%%-*}" ] || unavailable "$suite has no such package"
	echo "$cache/$1-$(tr '~+:' '---' <<<"$version")"
}

get() { # NAME
	local folder start=$SECONDS
	suite_of "$1" >/dev/null
	check_machine "$1"
	mkdir -p "$cache" 2>/dev/null || unavailable "cannot write $cache"
	exec 9>"$cache/lock-$1"
	flock 9
	fetch_lists "$(suite_of "$1")"
	folder=$(folder_of "$1")
	if [ ! -e "$folder/complete" ]; then
		rm -rf "$folder"
		mkdir -p "$folder"
		if [ "$1" = smp ]; then build_kernel "$folder"; else unpack_kernel "$1" "$folder"; fi
		touch "$folder/complete"
		say "$1: $((SECONDS - start)) s, $(du -sh "$folder" | cut -f 1)"
	fi
	echo "$folder"
}

list() {
	local name folder
	for name in $names; do
		printf '%s:' "$name"
		for folder in "$cache/$name"-*; do
			[ ! -e "$folder/complete" ] || printf ' %s' "${folder##*/}"
		done
		echo
	done
}

case ${1:-}:$# in
list:1) list ;;
get:2) get "$2" ;;
*)
	sed -n '2,/^set -eu/p' "$0" | sed '$d; s/^# \{0,1\}//'
	exit 2
	;;
esac
