#!/bin/sh
# Checks the floors of the house (docs/architecture.md): a file includes its own floor and those
# below, each library has one home, and what belongs to one system is seen in few files only.
# Prints file:line of what breaks a rule; ends with 1 if anything does.
set -eu
cd "$(dirname "$0")/.."

files=$(find crypto proto agent -name '*.[ch]' 2>/dev/null | sort)
[ -n "$files" ] || exit 0

# shellcheck disable=SC2086 # a list of words
exec awk '
BEGIN {
	# ISO C: allowed everywhere. Any other header in <> is a library or belongs to a system.
	n = split("assert complex ctype errno fenv float inttypes limits locale math setjmp signal " \
		"stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string " \
		"tgmath time uchar wchar wctype", words, " ")
	for (i = 1; i <= n; i++)
		iso[words[i] ".h"] = 1
	system_files = "^agent/os/|^agent/ipsec/(xfrm|wfp)/|^agent/privsep/(.*_(linux|win)|helper)\\.c$"
}

function floor_of(path)
{
	if (path ~ /^crypto\//) return 0
	if (path ~ /^proto\/(base|json)\//) return 1
	if (path ~ /^proto\//) return 2
	if (path ~ /^agent\/(os|ipsec)\//) return 3
	if (path ~ /^agent\/privsep\/(record|policy)\./) return 2
	if (path ~ /^agent\/privsep\//) return 4
	if (path ~ /^agent\/daemon\//) return 5
	if (path ~ /^agent\/cli\//) return 6
	if (path ~ /^agent\/main\.c$/) return 7
	return -1
}

function fault(text)
{
	printf "%s:%d: %s\n", FILENAME, FNR, text
	faults++
}

function dir_of(path)
{
	sub(/[^\/]*$/, "", path)
	return path
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, part, "\"")
	to = part[2]
	if (to !~ /\//)
		to = dir_of(FILENAME) to
	if (floor_of(to) < 0)
		fault("\"" part[2] "\" is on no floor: name it from the top, \"proto/base/err.h\"")
	else if (floor_of(to) > floor_of(FILENAME))
		fault("upward: floor " floor_of(FILENAME) " includes " to " of floor " floor_of(to))
}

/^[ \t]*#[ \t]*include[ \t]*</ {
	split($0, part, /[<>]/)
	to = part[2]
	if (to in iso)
		next
	if (to ~ /^(mbedtls|psa)\//) {
		if (FILENAME !~ /^crypto\//)
			fault("<" to "> outside crypto/")
	} else if (to ~ /cJSON/) {
		if (FILENAME != "proto/json/decode.c")
			fault("<" to "> outside proto/json/decode.c")
	} else if (to ~ /^uv(\.h$|\/)/) {
		if (FILENAME !~ /^agent\//)
			fault("<" to "> outside agent/")
	} else if (FILENAME !~ system_files) {
		fault("<" to "> belongs to a system: only in agent/os/ and the back ends of one system")
	}
}

# A comparison that ends at the first difference tells how much of a secret was right.
/memcmp[ \t]*\(/ && !/not secret/ {
	if (tolower($0) ~ /(^|[^a-z])(keys?|secrets?|tags?|pins?)([^a-z]|$)/)
		fault("memcmp on a secret: use secret_equal (or say /* not secret */ on the line)")
}

END { exit faults > 0 }
' $files
