# Shared by the scripts of this project; source it, do not run it.
#
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash

set -euo pipefail
# "set -e" ends a script without a word; say at least which one.
explained=
trap 'rc=$?; [ $rc -eq 0 ] || [ "$explained" ] ||
    echo "error: ${0##*/} ended with status $rc" >&2' EXIT

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
cache=${GUEST_MEMFD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/qemu-guest-memfd}

# Objects are cached by content, so a second clone compiles nothing again.
# The compiler's own list of what a source includes serves for that: without
# it ccache preprocesses each source once more, a third of a cold build.
export CCACHE_DIR=$cache/ccache CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1
export CCACHE_DEPEND=1
export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-8G}
export LC_ALL=C.UTF-8

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf 'hint: %s\n' "$@" >&2
    explained=yes
    exit 1
}

note() {
    printf '%s\n' "$*" >&2
}

# Wait until no other script has locked a directory, and keep it for this one
# and those that it calls.
lock() {
    local dir=$1 fd
    case ":${GUEST_MEMFD_LOCKED:-}:" in
    *":$dir:"*) return 0 ;;
    esac
    mkdir -p "$dir"
    exec {fd}<"$dir"
    flock --nonblock $fd || {
        note "    waiting for another make, which has locked $dir"
        flock $fd
    }
    export GUEST_MEMFD_LOCKED=${GUEST_MEMFD_LOCKED:-}:$dir
}

# A cache directory that root makes would be of no use to the user.
as_root() {
    mkdir -p "$cache"
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo --preserve-env=DEBIAN_FRONTEND,DEBIAN_MIRROR,GUEST_MEMFD_CACHE "$@"
    else
        die "$1 needs to be root, and neither root nor sudo is at hand" \
            "as root: scripts/${0##*/}"
    fi
}

# bootstrap RELEASE DIR [OPTION...]: the least Debian of a release, from where
# apt has its packages, through apt's proxy.
bootstrap() {
    local release=$1 dir=$2 mirror http_proxy=${http_proxy:-} through=()
    shift 2
    mirror=$("$top/scripts/apt-private" --mirror)
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    # our variables do not get through sudo
    case $http_proxy in
    '' | DIRECT | false) ;;
    *) through=(env "http_proxy=$http_proxy") ;;
    esac
    as_root "${through[@]}" \
        debootstrap --variant=minbase "$@" "$release" "$dir" "$mirror"
}

elapsed() {
    printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60))
}

# Run an apt-get that says on file descriptor 3 how far its downloads are, and
# show that on a terminal.
with_percents() {
    local kind percent
    "$@" 3>&1 >&2 | {
        while IFS=: read -r kind _ percent _; do
            [ ! -t 2 ] || [ "$kind" != dlstatus ] ||
                printf '\r    %.0f %%' "$percent" >&2
        done
        [ ! -t 2 ] || printf '\r\033[K' >&2
    }
}

last_words() {
    tail -c 400 "$1" | tr '\r' '\n' | sed '/^ *$/d' | tail -n 1 | cut -c 1-60
}

# Run a long command with its output in a log, and say once a while that it
# is still at it.  watched LABEL LOG COMMAND...
watched() {
    local label=$1 log=$2 pid rc=0 ticks=0
    shift 2
    mkdir -p "$(dirname "$log")"
    # If it is a function, what it has started is what has to end.
    trap 'kill $(cat /proc/$!/task/$!/children) $! 2>/dev/null' INT TERM
    "$@" >"$log" 2>&1 &
    pid=$!
    while kill -0 $pid 2>/dev/null; do
        sleep 1
        ticks=$((ticks + 1))
        [ $((ticks % 15)) -ne 0 ] || note "    $label: $ticks s $(last_words "$log")"
    done
    wait $pid || rc=$?
    trap - INT TERM
    [ $rc -eq 0 ] && return 0
    tail -n 30 "$log" >&2
    die "$label failed with status $rc" "the whole log is in $log"
}

# Hash of the named files' contents and of the words after "--".
hash_of() {
    local files=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        files+=("$1")
        shift
    done
    {
        printf '%s\n' "${@:2}"
        [ ${#files[@]} -eq 0 ] ||
            (cd "$top" && sha256sum -- "${files[@]#"$top"/}")
    } | sha256sum | cut -c 1-32
}

# cache_get KIND KEY FILE: fetch a finished product, or fail if there is none.
cache_get() {
    local from=$cache/$1/$2
    [ -f "$from" ] || return 1
    touch "$from"
    mkdir -p "$(dirname "$3")"
    cp -p "$from" "$3.new" && mv "$3.new" "$3"
}

# cache_put KIND KEY FILE: keep a finished product; the six newest stay.
cache_put() {
    mkdir -p "$cache/$1"
    cp "$3" "$cache/$1/.$2.$$" && mv "$cache/$1/.$2.$$" "$cache/$1/$2"
    find "$cache/$1" -maxdepth 1 -type f -printf '%T@ %p\n' | sort -rn |
        tail -n +7 | cut -d ' ' -f 2- | xargs -r rm -f
}

# unless_done LIST KEY TREE COMMAND...: run a command, unless it was run before.
# That is kept, for the newest 1000, if all that is in the tree is in patches/.
unless_done() {
    local list=$cache/$1.list key=$2 tree=$3
    if tree_has_work "$tree"; then
        "${@:4}"
        return
    fi
    if grep -qxF "$key" "$list" 2>/dev/null; then
        note "    done before, from the same sources"
        return
    fi
    "${@:4}"
    { tail -n 999 "$list" 2>/dev/null || true; echo "$key"; } >"$list.$$"
    mv "$list.$$" "$list"
}

# steps N, and then step TEXT before each: which of how many, and since when.
steps() {
    steps_total=$1
    steps_done=0
}

step() {
    steps_done=$((steps_done + 1))
    note "[$steps_done/$steps_total $(elapsed)] $*"
}

# tree_has_work TREE: whether someone works in it, beyond what patches/ has.
tree_has_work() {
    [ -f "$1/.git/queue-state" ] || return 1
    [ "$(git -C "$1" rev-parse HEAD)" = "$(cut -d ' ' -f 2 "$1/.git/queue-state")" ] &&
        [ -z "$(git -C "$1" status --porcelain -uno | head -n 1)" ] || return 0
    return 1
}

# A queue's patches, in the order in which they apply.
queue_patches() {
    find "$top/patches/$1" -name '*.patch' | LC_ALL=C sort
}

# Hash of a queue's patches; of nothing, if there are none.
queue_hash() {
    queue_patches "$1" | xargs -r -d '\n' cat | sha256sum | cut -c 1-32
}
