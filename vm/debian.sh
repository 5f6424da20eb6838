# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# debian.sh: packages of any Debian release, whatever this machine runs, by lists of apt's own. Sourced after lib.sh.
#
# Nothing of this machine's apt changes: sources, lists and the list of what is installed are others. The mirror is the
# one that this machine's sources name, and what it sends is checked with Debian's keys, as usual.

# debian_mirror NAME (debian, debian-security): where this machine gets it
debian_mirror() {
  local found
  found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null | sed 's/#.*//' |
    grep -oE "https?://[^] ]+/$1/?( |\$)" | head -n 1 | tr -d ' ' || true)
  echo "${found:-http://deb.debian.org/$1}"
}

# debian_releases: those that kernels are looked for in, in this order: this machine's own first
debian_releases() {
  local own
  own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  case $own in bookworm | trixie) echo "$own" ;; esac
  printf '%s\n' trixie-backports sid trixie bookworm | grep -vxF "${own:--}"
}

# debian_sources SUITE [deb-src]: lines for sources.list, of packages or of their sources
debian_sources() {
  local key='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
  echo "${2:-deb} $key $(debian_mirror debian) $1 main"
  # Those that are not released, and backports, have their updates in themselves
  case $1 in *-backports | sid) ;; *) echo "${2:-deb} $key $(debian_mirror debian-security) $1-security main" ;; esac
}

# debian_apt SUITE [anew|deb-src]: sets apt to the options with which apt-get and apt-cache know that suite, and no other; or
# its source packages. The lists are fetched if there are none of the last day, or anew. SUITE host: this machine's own, and
# no options.
debian_apt() {
  local suite=$1 type=deb dir=$build/kernel/apt-$1
  [[ ${2:-} != deb-src ]] || { type=deb-src dir+=-sources; set -- "$1"; }
  apt=(-qq -o APT::Sandbox::User=root)
  if [[ $suite == host ]]; then
    [[ ! ${2:-} ]] || timeout 300 apt-get "${apt[@]}" update >&2 || { echo "$prog: apt-get update failed" >&2; return 1; }
    return
  fi
  apt+=(-o "Dir::Etc::sourcelist=$dir/list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$dir/lists"
    -o Dir::State::status=/dev/null -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Update::Error-Mode=any)
  mkdir -p "$dir/lists/partial"
  (
    exec 8>"$dir/.lock"
    flock -w 600 8 || { echo "$prog: another has been fetching the lists of $suite for ten minutes" >&2; exit 1; }
    [[ ${2:-} || ! $(find "$dir/updated" -mmin -1440 2>/dev/null) ]] || exit 0
    debian_sources "$suite" $type >"$dir/list"
    echo "$prog: fetching the package lists of Debian's $suite" >&2
    timeout 300 apt-get "${apt[@]}" update >&2 || { echo "$prog: apt-get update failed for $suite" >&2; exit 1; }
    touch "$dir/updated"
  )
}
