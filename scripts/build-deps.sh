#!/bin/sh
# Builds mbedTLS 3.6, libuv and cJSON from the distribution's source packages, as static archives in
# build/deps/TARGET, unless the system has suitable versions. Writes build/deps/TARGET.mk, which
# contains the compiler and linker options for the libraries.
#
#     scripts/build-deps.sh [linux|win]     builds, unless an up-to-date build exists
#     scripts/build-deps.sh --system        exits with 0 if the system's packages are suitable
#
# The sources come from the package archive that this machine is configured for, from another suite.
# Their signature is checked against the keyring of the distribution. The package lists and settings
# of this machine are not changed. If the download fails, an existing build stays usable.
#
# Environment: DEPS_URI, DEPS_SUITE and DEPS_KEYRING override the archive's properties;
# DEPS_BUILD=1 builds even if the system's packages are suitable.
set -eu
cd "$(dirname "$0")/.."

RECIPE=1 # increment with every change that requires a new build of the libraries
recipe=$RECIPE # for this target
target=${1:-linux}
deps=$PWD/build/deps
prefix=$deps/$target
stamp=$prefix/stamp
log=$deps/$target.log
packages='mbedtls cjson libuv1'
modules='mbedtls mbedx509 mbedcrypto libuv libcjson'

say() { printf 'deps: %s\n' "$*"; }
die() {
	printf 'deps: %s\n' "$1" >&2
	shift
	for line; do printf '      %s\n' "$line" >&2; done
	exit 1
}

system_fits() {
	command -v pkg-config >/dev/null 2>&1 &&
		pkg-config --exists 'mbedtls >= 3.6.4' 'mbedtls < 4' 'mbedx509 >= 3.6.4' \
			'mbedcrypto >= 3.6.4' 'libuv >= 1.46' 'libcjson >= 1.7.15'
}

# Prints the URIs of the binary archive that this machine is configured for. Reads both formats of
# apt's source lists. Security archives do not match, because they have other suites.
archive_uris() {
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -f "$f" ] && awk -v id="$1" '
			function flush() {
				if (types ~ /deb/ && suites ~ want && enabled != "no")
					print uris
				types = suites = uris = ""; enabled = "yes"
			}
			BEGIN { want = "(^| )" id "( |$)"; enabled = "yes" }
			/^#/ { next }
			/^[ \t]*$/ { flush(); next }
			{ key = tolower($1); val = $0; sub(/^[^:]*:[ \t]*/, "", val) }
			key == "types:" { types = val }
			key == "suites:" { suites = val }
			key == "uris:" { uris = val }
			key == "enabled:" { enabled = tolower(val) }
			END { flush() }' "$f"
	done
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$f" ] && awk -v id="$1" '
			$1 == "deb" {
				sub(/\[[^]]*\]/, "")
				if ($3 == id)
					print $2
			}' "$f"
	done
	return 0
}

choose_source() {
	id='' codename=''
	if [ -r /etc/os-release ]; then
		# shellcheck disable=SC1091
		id=$(. /etc/os-release && echo "${ID:-}")
		# shellcheck disable=SC1091
		codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	fi
	case $id in
	ubuntu)
		suites=${DEPS_SUITE:-'resolute questing plucky'}
		keyring=${DEPS_KEYRING:-/usr/share/keyrings/ubuntu-archive-keyring.gpg}
		components='main universe'
		;;
	*)
		suites=${DEPS_SUITE:-trixie}
		keyring=${DEPS_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
		components=main
		;;
	esac
	uri=${DEPS_URI:-$(archive_uris "$codename" | awk '{ print $1 }' | head -n 1)}
	[ -n "$uri" ] || die 'no package archive found in the apt sources of this machine' \
		'set DEPS_URI to the archive that it uses, for example the first URI of' \
		'/etc/apt/sources.list.d/*.sources'
	[ -r "$keyring" ] || die "the archive's keyring $keyring is missing" \
		'install debian-archive-keyring (Ubuntu: ubuntu-keyring) or set DEPS_KEYRING'
}

# Runs apt-get with state, cache and sources below build/deps.
own_apt() {
	apt-get -o Dir::State="$apt/state" -o Dir::Cache="$apt/cache" \
		-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$apt/parts" \
		-o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root -q "$@"
}

# All targets use the same sources, so that they have the same versions.
fetched() { [ -f "$src/fetched" ] && [ "$(cat "$src/fetched")" = "recipe $RECIPE" ]; }

fetch() {
	for suite in $suites; do
		rm -rf "$apt" "$src.new"
		mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/parts" \
			"$src.new"
		printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n' \
			"$uri" "$suite" "$components" "$keyring" >"$apt/parts/src.sources"
		say "fetching the sources of $packages ($suite)"
		# shellcheck disable=SC2086 # a list of words
		if own_apt -o APT::Update::Error-Mode=any update >>"$log" 2>&1 &&
			(cd "$src.new" && own_apt source --download-only $packages) >>"$log" 2>&1 &&
			ls "$src.new"/mbedtls_3.6.*.dsc >>"$log" 2>&1; then
			echo "recipe $RECIPE" >"$src.new/fetched"
			rm -rf "$apt" "$src"
			mv "$src.new" "$src"
			return 0
		fi
	done
	rm -rf "$apt" "$src.new"
	[ -f "$src/fetched" ] && say 'the download failed: building the sources that were downloaded earlier'
}

unpack() {
	mkdir -p "$work/src"
	for dsc in "$src"/*.dsc; do
		# apt has checked every hash against the archive's signed index.
		(cd "$work/src" && dpkg-source -q --no-check -x "$dsc") >>"$log" 2>&1 || return 1
	done
	mbedtls=$(echo "$work"/src/mbedtls-3.6.*)
	cjson=$(echo "$work"/src/cjson-1.*)
	libuv=$(echo "$work"/src/libuv1-1.*)
	versions="mbedTLS ${mbedtls##*-}, libuv ${libuv##*-}, cJSON ${cjson##*-}"
	case ${mbedtls##*-} in
	3.6.[0-3])
		say "$versions: mbedTLS 3.6.4 or later is needed" >&2
		return 1
		;;
	esac
	# The library and the program include this file. The size of the output buffer limits only
	# sent records. A key store with 32 fixed slots would fail at the ninth TLS connection.
	cat >>"$mbedtls/include/mbedtls/mbedtls_config.h" <<'END'

/* Set by the build of sapair. */
#undef MBEDTLS_SSL_OUT_CONTENT_LEN
#define MBEDTLS_SSL_OUT_CONTENT_LEN 4096
#undef MBEDTLS_PSA_KEY_STORE_DYNAMIC
#define MBEDTLS_PSA_KEY_STORE_DYNAMIC
END
}

# build NAME SOURCE OPTION...: builds and installs one library below $work/new.
build() {
	name=$1 from=$2
	shift 2
	say "building $name for $target"
	# shellcheck disable=SC2086 # lists of words
	cmake -G Ninja -S "$from" -B "$work/$name" -DCMAKE_BUILD_TYPE=Release \
		-DCMAKE_C_COMPILER="$cc" $cross -DCMAKE_INSTALL_PREFIX="$prefix" \
		-DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_C_FLAGS_RELEASE='-O2 -DNDEBUG' \
		-DCMAKE_C_FLAGS="$cflags -ffile-prefix-map=$work=/deps" "$@" >>"$log" 2>&1 &&
		DESTDIR=$work/new ninja -C "$work/$name" install >>"$log" 2>&1
}

build_all() {
	build mbedtls "$mbedtls" -DENABLE_PROGRAMS=OFF -DENABLE_TESTING=OFF \
		-DUSE_SHARED_MBEDTLS_LIBRARY=OFF -DMBEDTLS_FATAL_WARNINGS=OFF &&
		build cjson "$cjson" -DBUILD_SHARED_LIBS=OFF -DENABLE_CJSON_TEST=OFF \
			-DENABLE_CUSTOM_COMPILER_FLAGS=OFF &&
		build libuv "$libuv" -DLIBUV_BUILD_SHARED=OFF -DBUILD_TESTING=OFF
}

case $target in
--system)
	system_fits
	exit
	;;
linux)
	cc=gcc
	syslibs='-lpthread -ldl -lm'
	cross=''
	cflags='-fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2'
	sections='-ffunction-sections -fdata-sections'
	;;
win)
	cc=x86_64-w64-mingw32-gcc
	syslibs='-lpsapi -luser32 -ladvapi32 -liphlpapi -luserenv -lws2_32'
	syslibs="$syslibs -ldbghelp -lole32 -lshell32 -lbcrypt"
	cross='-DCMAKE_SYSTEM_NAME=Windows -DCMAKE_SYSTEM_PROCESSOR=x86_64
		-DCMAKE_RC_COMPILER=x86_64-w64-mingw32-windres
		-DCMAKE_FIND_ROOT_PATH=/usr/x86_64-w64-mingw32
		-DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=NEVER
		-DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY
		-DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY
		-DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=ONLY'
	cflags='-D_WIN32_WINNT=0x0A00'
	sections='-ffunction-sections' # with -fdata-sections, MinGW writes 2.7 MB of zeros to the file
	recipe=$RECIPE.1
	;;
*)
	die "unknown target \"$target\"" 'usage: scripts/build-deps.sh [linux|win|--system]'
	;;
esac
cflags="$cflags $sections"

mkdir -p "$deps"
if command -v flock >/dev/null 2>&1; then
	exec 9>"$deps/lock"
	flock 9 # a parallel build waits, and then finds this one's result
fi

# make_mk CFLAGS LIBS STAMP
make_mk() {
	mk=$deps/$target.mk
	printf 'DEPS_CFLAGS := %s\nDEPS_LIBS   := %s\nDEPS_STAMP  := %s\n' "$1" "$2" "$3" >"$mk.new"
	mv "$mk.new" "$mk"
}

own_mk() {
	p=build/deps/$target # relative, so that the program does not depend on the folder
	if [ "$target" = linux ]; then # any version of the system is suitable
		syslibs="$(pkg-config --libs libmnl) $syslibs" ||
			die 'libmnl is missing' 'run scripts/setup.sh, or install libmnl-dev'
	fi
	libs=''
	for lib in mbedtls mbedx509 mbedcrypto uv cjson; do
		libs="$libs$p/lib/lib$lib.a "
	done
	make_mk "-isystem $p/include" "$libs$syslibs" "$p/stamp"
}

if [ "$target" = linux ] && [ -z "${DEPS_BUILD:-}" ] && system_fits; then
	# shellcheck disable=SC2086
	make_mk "$(pkg-config --cflags $modules libmnl | sed 's/-I */-isystem /g')" \
		"$(pkg-config --libs $modules libmnl) -lpthread -lm" ''
	exit 0
fi
if [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "recipe $recipe" ]; then
	own_mk
	exit 0
fi

missing=''
for tool in "$cc" cmake ninja dpkg-source apt-get; do
	command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
[ -z "$missing" ] || die "missing:$missing" \
	'run scripts/setup.sh, or install, with headers and pkg-config files, mbedTLS 3.6.4 or a' \
	'later 3.6, libuv 1.46 or later, and cJSON 1.7.15 or later'

apt=$deps/apt src=$deps/src work=$deps/work-$target
rm -rf "$work"
mkdir -p "$work"
: >"$log"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

if ! fetched; then
	choose_source
	if ! fetch; then
		tail -n 5 "$log" >&2
		if [ -f "$stamp" ]; then
			say "the download failed: keeping the existing build"
			own_mk
			exit 0
		fi
		die 'the download of the library sources failed' "archive $uri, suite $suites" \
			"log: $log"
	fi
fi
if ! { unpack && build_all; }; then
	tail -n 25 "$log" >&2
	if [ -f "$stamp" ]; then
		say "the build failed: keeping the existing one (log: $log)"
		own_mk
		exit 0
	fi
	die "building the libraries failed" "log: $log"
fi
rm -rf "$prefix"
mv "$work/new$prefix" "$prefix"
{ echo "recipe $recipe" && echo "$versions"; } >"$stamp"
own_mk
say "done: $versions"
