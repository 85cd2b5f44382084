# shellcheck shell=bash
# This machine's Debian mirror, and an apt with lists of its own. Sourced, never run.

# The URIs of the machine's Debian mirrors, from its own sources: deb822 files first, then the one-line format.
apt_uris() {
  {
    cat /etc/apt/sources.list.d/debian.sources 2>/dev/null | sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p'
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
      sed -n 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?\([^[:space:]]*debian[^[:space:]]*\)[[:space:]].*/\2/p'
  } || true
}
apt_mirror() { apt_uris | grep -v -- -security | head -n 1 || true; }
apt_security() { apt_uris | grep -- -security | head -n 1 || true; }

apt_keyring() { ls /usr/share/keyrings/debian-archive-keyring.gpg 2>/dev/null || true; }

# apt_private DIR SUITE COMPONENT: sets APT to an apt-get that sees this suite only, with its lists in DIR, so that
# the system's own lists stay as they are. $advice is what to do instead when there is no mirror.
apt_private() {
  local mirror keyring
  mirror=$(apt_mirror)
  keyring=$(apt_keyring)
  [ -n "$mirror" ] || fail "no Debian mirror stands in this machine's apt sources" "${advice:-install it by hand}"
  mkdir -p "$1/lists/partial"
  printf 'deb %s%s %s %s\n' "${keyring:+[signed-by=$keyring] }" "$mirror" "$2" "$3" >"$1/sources.list"
  # shellcheck disable=SC2034 # used by who called
  APT=(apt-get -q -o "Dir::Etc::sourcelist=$1/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$1/lists"
    -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o APT::Sandbox::User=root)
}
