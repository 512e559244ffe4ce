#!/usr/bin/env bash
# Proves what scripts/install-deps does and says, with a made-up machine: a PATH in which dpkg-query,
# apt-get, id and sudo are small programs that obey the files `installed`, `user` and `apt`.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bin=$scratch/bin
tests=0
failures=0

program()
{
    { printf '#!/bin/sh\nstate=%s\n' "$scratch" && cat; } >"$bin/$1"
    chmod +x "$bin/$1"
}

# A fresh machine with nothing installed, run by user number $1, with or without sudo ($2).
machine()
{
    rm -rf "$bin"
    mkdir "$bin"
    for tool in sh env awk grep cat; do ln -s "$(command -v "$tool")" "$bin/$tool"; done
    : >"$scratch/installed"
    : >"$scratch/log"
    echo good >"$scratch/apt"
    echo "$1" >"$scratch/user"
    # shellcheck disable=SC2016 # the program expands it
    program id <<<'cat "$state/user"'
    program dpkg-query <<'END'
shift 3 # -W -f FORMAT
for package in "$@"; do
    grep -qxF -e "$package" "$state/installed" && echo "$package installed"
done
true
END
    program apt-get <<'END'
echo "apt-get $*" >>"$state/log"
[ "$(cat "$state/user")" = 0 ] || { echo "apt-get: not root"; exit 100; }
for word in "$@"; do
    case $word in
    update) [ "$(cat "$state/apt")" != offline ] || exit 100 ;;
    install) [ "$(cat "$state/apt")" != broken ] || { echo "E: Unable to locate"; exit 100; } ;;
    -*) ;;
    DPkg*) ;;
    *) [ "$(cat "$state/apt")" = forgets ] || echo "$word" >>"$state/installed" ;;
    esac
done
END
    [ "$2" = sudo ] || return 0
    program sudo <<'END'
[ "$1" != -n ] || shift
[ "$(cat "$state/apt")" != password ] || exit 1
echo 0 >"$state/user"
"$@"
END
}

# run ARGS...: leaves its words in $output and its exit status in $status.
run()
{
    status=0
    output=$(PATH=$bin "$root/scripts/install-deps" "$@" 2>&1 </dev/null) || status=$?
    tests=$((tests + 1))
}

# expect STATUS WORDS: what the last run must have ended with and said.
expect()
{
    if [ "$status" -ne "$1" ] || [[ $output != *"$2"* ]]; then
        printf 'FAIL expected status %s and "%s", got %s and: %s\n' "$1" "$2" "$status" "$output"
        failures=$((failures + 1))
    fi
}

machine 0 no-sudo
run
expect 0 "install-deps: installing gcc "
expect 0 "install-deps: installed gcc "
: >"$scratch/log"
run
expect 0 "nothing is missing (15 packages)"
run --check
expect 0 "nothing is missing"
output=$(cat "$scratch/log")
[ -z "$output" ] || expect 0 "an apt-get that was not started, as nothing was missing"
run --dev --cross
expect 0 "installing clang "
[[ $output != *"installing gcc "* ]] || expect 0 "no package that is there already"
expect 0 "qemu-user"

sed -i '/^libcmocka-dev$/d' "$scratch/installed"
run --check
expect 1 "missing: libcmocka-dev"
run
expect 0 "installed libcmocka-dev"
run --frobnicate
expect 2 "usage:"
run --help
expect 0 "--cross"

machine 1000 sudo
run
expect 0 "install-deps: installed gcc "

machine 1000 no-sudo
run
expect 1 "this is not root and there is no sudo"
expect 1 "as root run: apt-get install gcc "

machine 1000 sudo
echo password >"$scratch/apt"
run
expect 1 "sudo wants a password and there is no terminal"

machine 0 no-sudo
echo broken >"$scratch/apt"
run
expect 1 "apt-get could not install gcc "

machine 0 no-sudo
echo offline >"$scratch/apt"
run
expect 0 "apt-get update failed; trying"
expect 0 "installed gcc "

machine 0 no-sudo
echo forgets >"$scratch/apt"
run
expect 1 "these are still missing: gcc "

machine 1000 no-sudo
rm "$bin/dpkg-query"
run
expect 0 "not a Debian machine"

echo "install_deps_test: $failures failures in $tests runs"
[ "$failures" -eq 0 ]
