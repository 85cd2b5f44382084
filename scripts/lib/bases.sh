# shellcheck shell=bash
# The base images: pulled, or built here where nothing can be pulled. Sourced, never run.

# Part of the tag: increase it when the recipe below changes.
RECIPE=1
# Leaves out documentation and translations: no container needs them, and they are a fifth of the image.
SLIM=(--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
  --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*')

# shellcheck disable=SC2034 # choose_bases composes these names
PULLED_DEBIAN=debian:bookworm-slim PULLED_RUST=rust:$RUST_VERSION-bookworm

# choose_bases KIND...: provides each image, and exports its name as DEBIAN_IMAGE or RUST_IMAGE. A variable that is set
# keeps its value. Call it in the main shell, not in a subshell: a signal to the script must also end its jobs.
choose_bases() {
  local kind setting pulled
  mkdir -p "$CACHE"
  for kind in "$@"; do
    case $kind in debian | rust) ;; *) fail "there is no base image $kind" "the names are debian and rust" ;; esac
    setting=${kind^^}_IMAGE pulled=PULLED_${kind^^}
    if [ -z "${!setting:-}" ]; then
      base_image "$kind" "${!pulled}"
      export "$setting=$BASE"
    fi
  done
}

# base_image KIND NAME: pulls or builds the image, and sets BASE to its name.
base_image() {
  BASE=$2
  image_there "$2" || { can_pull && step 900 "pull $2" docker pull "$2"; } || "make_$1"
}

image_there() { docker image inspect "$1" >/dev/null 2>&1; }

# can_pull: tests whether the registry answers within 20 s. The engine itself would wait minutes for a silent registry.
# The pull after that answer may take longer.
can_pull() {
  local answer
  answer=$(find "$CACHE" -maxdepth 1 -name 'pull-*' -mmin -1440 2>/dev/null | head -n 1)
  if [ -z "$answer" ]; then
    rm -f "$CACHE"/pull-*
    say "· can images be pulled? (at most 20 s)"
    answer=$CACHE/pull-refused
    if run timeout 20 sh -c 'docker pull "$1" 2>&1 | grep -q "Pulling from"' sh "$PULLED_DEBIAN"; then answer=$CACHE/pull-works; fi
    : >"$answer"
    say "  $([ "${answer##*-}" = works ] && echo yes || echo "no: base images will be built on this machine")"
  fi
  [ "${answer##*-}" = works ]
}

# This machine's CA bundle: containers must trust the same proxy certificates as this machine.
ca_bundle() {
  local file
  for file in "${CCB_CA_BUNDLE:-}" "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    if [ -n "$file" ] && [ -s "$file" ]; then echo "$file"; return; fi
  done
  echo /dev/null
}

make_debian() { make_base debian-bookworm "" ""; }

make_rust() {
  local sysroot version
  have rustc || fail "cannot pull an image of Rust $RUST_VERSION, and this machine has no toolchain to build one from" \
    "install Rust $RUST_VERSION (rustup.rs) and run this again, or set RUST_IMAGE to an image you have"
  version=$(cd "$ROOT" && rustc --version | cut -d' ' -f2)
  case $version in "$RUST_VERSION".*) ;; *) fail "this machine's Rust is $version, but the build needs $RUST_VERSION" \
    "rustup toolchain install $RUST_VERSION, or set RUST_IMAGE to an image you have" ;; esac
  sysroot=$(cd "$ROOT" && rustc --print sysroot)
  make_base "rust-$version" ,gcc,libc6-dev,make,pkg-config "$sysroot"
}

# make_base NAME EXTRA-PACKAGES TOOLCHAIN: builds a Debian base as a tar, and imports it under a tag with the recipe's digest.
make_base() {
  local name=$1 packages=ca-certificates,usr-is-merged$2 toolchain=$3 mirror security ca tag hooks=() changes=() sources=()
  mirror=$(apt_mirror)
  security=$(apt_security)
  [ -n "$mirror" ] || fail "cannot pull images, and this machine's apt sources name no Debian mirror" \
    "set DEBIAN_IMAGE and RUST_IMAGE to images you have"
  sources=("deb $mirror bookworm main" "deb $mirror bookworm-updates main")
  [ -z "$security" ] || sources+=("deb $security bookworm-security main")
  ca=$(ca_bundle)
  tag=cc-bridge-base:$name-$(printf '%s\n' "$RECIPE" "$packages" "$toolchain" "${sources[@]}" "${SLIM[@]}" "$(sha256sum <"$ca")" | sha256sum | cut -c1-12)
  if ! image_there "$tag"; then
    # usr-is-merged with its hook replaces usrmerge, which would install 50 MB of Perl.
    need_command mmdebstrap mmdebstrap
    work_folder
    [ "$ca" = /dev/null ] || hooks+=(--customize-hook="upload $ca /etc/ssl/certs/ca-certificates.crt")
    if [ -n "$toolchain" ]; then
      hooks+=(--customize-hook="mkdir -p \"\$1/usr/local/rust\"; cp -a '$toolchain/bin' '$toolchain/lib' \"\$1/usr/local/rust/\"")
      changes=(--change "ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    fi
    step 600 "build $name from this machine's packages" env TMPDIR="$WORK" mmdebstrap --variant=minbase --include="$packages" "${SLIM[@]}" \
      --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr "${hooks[@]}" bookworm "$WORK/base.tar" "${sources[@]}" ||
      fail "could not build the base image $name" "see the lines above; check that the package mirror is reachable"
    step 300 "import $name" docker import "${changes[@]}" --change 'CMD ["bash"]' "$WORK/base.tar" "$tag" ||
      fail "could not import the base image $name" "check the free space where Docker keeps its images"
    rm -f "$WORK/base.tar"
  fi
  BASE=$tag
}

# work_folder: sets WORK to a temporary folder, which is removed when this script ends. Its mode lets other users enter it,
# which mmdebstrap needs for its own folder inside. Its name holds this process's id, by which scripts/down finds folders
# whose process is gone.
work_folder() {
  [ -z "${WORK:-}" ] || return 0
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/ccb-base.$$.XXXXXX")
  chmod 0711 "$WORK"
  trap 'remove_work "$WORK"' EXIT
}

# remove_lost_work: removes the folders of scripts that were killed.
remove_lost_work() {
  local folder pid
  for folder in "${TMPDIR:-/tmp}"/ccb-base.*; do
    pid=${folder##*/ccb-base.}
    [ ! -O "$folder" ] || [ -d "/proc/${pid%%.*}" ] || remove_work "$folder"
  done
}

# remove_work FOLDER: unmounts what a killed mmdebstrap left mounted in the folder, then removes the folder.
remove_work() {
  local mount
  awk -v folder="$1/" 'index($5, folder) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
    while IFS= read -r mount; do root umount --lazy "$mount"; done
  rm -rf --one-file-system "$1"
}
