#!/bin/sh
# Makes build/sapair_VERSION_ARCH.deb from a program that has been built (`make deb`).
#
#     SAPAIR=build/linux/sapair VERSION=0.1.0 [OUT=DIR] scripts/make-deb.sh
#
# DEBFULLNAME and DEBEMAIL are the maintainer. Needs dpkg-deb and dpkg-shlibdeps (package dpkg-dev).
set -eu
cd "$(dirname "$0")/.."

: "${SAPAIR:?the program}" "${VERSION:?its version}"
arch=$(dpkg --print-architecture)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
root=$dir/root
# The same sources give the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
umask 022

put() { # MODE FILE TO
	install -D -m "$1" "$2" "$root/$3"
}

put 755 "$SAPAIR" usr/bin/sapair
strip --strip-all --remove-section=.comment --remove-section=.note "$root/usr/bin/sapair"
for page in docs/*.[1-8]; do
	n=${page##*.}
	put 644 "$page" "usr/share/man/man$n/${page##*/}"
	gzip -9n "$root/usr/share/man/man$n/${page##*/}"
done
mkdir -p "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
	"$root/usr/share/fish/vendor_completions.d"
"$SAPAIR" completion bash >"$root/usr/share/bash-completion/completions/sapair"
"$SAPAIR" completion zsh >"$root/usr/share/zsh/vendor-completions/_sapair"
"$SAPAIR" completion fish >"$root/usr/share/fish/vendor_completions.d/sapair.fish"
for unit in scripts/*.service; do
	to=$root/usr/lib/systemd/system/${unit##*/}
	put 644 "$unit" "usr/lib/systemd/system/${unit##*/}"
	sed -i 's|/usr/local/bin/|/usr/bin/|' "$to"
done
doc=usr/share/doc/sapair
for file in README.md docs/*.md; do
	put 644 "$file" "$doc/${file##*/}"
done
for file in docs/examples/* docs/schema/*.json; do
	put 644 "$file" "$doc/${file#docs/}"
done
who="${DEBFULLNAME:-The sapair authors} <${DEBEMAIL:-sapair@localhost.localdomain}>"
if [ -z "${DEBEMAIL-}" ]; then # a local package has no maintainer address
	mkdir -p "$root/usr/share/lintian/overrides"
	printf 'sapair: %s *\n' bogus-mail-host bogus-mail-host-in-debian-changelog \
		>"$root/usr/share/lintian/overrides/sapair"
fi
{
	printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'
	printf 'Upstream-Name: sapair\n\nFiles: *\nCopyright: 2026 the sapair authors\nLicense: Expat\n'
	sed -n '/^Permission/,$s/^/ /p' LICENSE | sed 's/^ $/ ./'
} >"$root/$doc/copyright"
{
	printf 'sapair (%s) unstable; urgency=medium\n\n  * See README.md for what it does.\n\n' "$VERSION"
	printf ' -- %s  %s\n' "$who" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$root/$doc/changelog.gz"
gzip -9n -c CHANGELOG.md >"$root/$doc/NEWS.md.gz"
chmod 644 "$root/$doc"/*.gz "$root/$doc/copyright"

mkdir -p "$dir/debian" "$root/DEBIAN"
printf 'Source: sapair\n\nPackage: sapair\nArchitecture: any\n' >"$dir/debian/control"
depends=$(cd "$dir" && dpkg-shlibdeps -O -e"$root/usr/bin/sapair" 2>/dev/null |
	sed -n 's/^shlibs:Depends=//p')
cat >"$root/DEBIAN/control" <<END
Package: sapair
Version: $VERSION
Architecture: $arch
Maintainer: $who
Installed-Size: $(du -k -s "$root" | cut -f1)
Depends: $depends
Recommends: iproute2
Suggests: openssh-client
Section: net
Priority: optional
Description: IPsec SAs between two hosts without IKE
 An agent on each host reserves an SPI, generates key material, and exchanges
 both with its peer over mutually authenticated TLS 1.3. Both hosts then install
 the SAs, verify them with probe packets, and rekey them without packet loss.
 .
 Labs of many hosts can be set up from one file.
END
(cd "$root" && find usr -type f | sort | xargs md5sum >DEBIAN/md5sums)
deb=${OUT:-build}/sapair_${VERSION}_$arch.deb
mkdir -p "${OUT:-build}"
dpkg-deb --root-owner-group --build "$root" "$deb" >/dev/null
printf '%s\n' "$deb"
