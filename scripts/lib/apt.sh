# shellcheck shell=bash
# Finds this machine's Debian mirror and downloads packages with separate package lists. Sourced, never run.

# The URIs of the machine's Debian mirrors, from its own sources: deb822 files first, then the one-line format.
apt_uris() {
  {
    sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
      sed -n 's/^deb[[:space:]]\+\(\[[^]]*\][[:space:]]*\)\?\([^[:space:]]*debian[^[:space:]]*\)[[:space:]].*/\2/p'
  } || true
}
apt_mirror() { apt_uris | grep -v -- -security | head -n 1 || true; }
apt_security() { apt_uris | grep -- -security | head -n 1 || true; }

apt_keyring() { ls /usr/share/keyrings/debian-archive-keyring.gpg 2>/dev/null || true; }

# apt_fetch DIR SUITE TITLE PACKAGE...: changes to DIR and downloads the packages of this suite into it. The package lists
# are in DIR too, so those of the system do not change. $advice is the remedy that a failure names.
# shellcheck disable=SC2154 # advice is the caller's
apt_fetch() {
  local folder=$1 suite=$2 title=$3 mirror keyring apt
  shift 3
  if ! have apt-get || ! have dpkg-deb; then fail "there is no apt here to download $title" "$advice"; fi
  mirror=$(apt_mirror)
  keyring=$(apt_keyring)
  [ -n "$mirror" ] || fail "this machine's apt sources name no Debian mirror" "$advice"
  mkdir -p "$folder/lists/partial"
  cd "$folder" || return
  printf 'deb %s%s %s main\n' "${keyring:+[signed-by=$keyring] }" "$mirror" "$suite" >sources.list
  apt=(apt-get -q -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/lists"
    -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o APT::Sandbox::User=root)
  step 120 "package lists for $title" "${apt[@]}" update || fail "the package mirror does not answer" "$advice"
  step 300 "download $title" "${apt[@]}" download "$@" || fail "$title could not be downloaded" "$advice"
}
