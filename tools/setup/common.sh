# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts of tools/: where things are, how to become root, what to say.

set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${HOME:=$(cd ~ && pwd)}"
cache=${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}
. /etc/os-release
debian=${VERSION_ID:-0}

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Milliseconds since an unnamed moment.
now_ms() { local t; read -r t _ </proc/uptime; printf '%s' "$(( ${t%.*} * 1000 + 10#${t#*.} * 10 ))"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root: run as root, or install sudo ($*)"
  fi
}
