# shellcheck shell=bash
# The Rust binaries, compiled on this machine where its cargo fits the images. Sourced, never run.

BINS=(claude-api bridge credentials ccb ccb-claude scripted-model stand-in-claude)
# The glibc of the images' base: a program that is compiled against a newer one does not start there.
IMAGE_GLIBC=2.36

# cargo_fits: succeeds when this machine has the pinned Rust.
cargo_fits() {
  have cargo && case $(cd "$ROOT" && rustc --version 2>/dev/null) in "rustc $RUST_VERSION".*) ;; *) return 1 ;; esac
}

# binaries_fit: succeeds when this machine's binaries run in the images: the glibc is not newer, and the engine has the
# same processor architecture.
binaries_fit() {
  local glibc ours theirs
  cargo_fits && have ldd || return 1
  glibc=$(ldd --version 2>/dev/null | sed -n '1s/.* \([0-9.]*\)$/\1/p')
  [ -n "$glibc" ] && [ "$(printf '%s\n' "$glibc" "$IMAGE_GLIBC" | sort -V | tail -n 1)" = "$IMAGE_GLIBC" ] || return 1
  ours=$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/')
  theirs=$(docker version --format '{{.Server.Arch}}' 2>/dev/null)
  [ "$ours" = "$theirs" ]
}

# compile: compiles all binaries into target/release.
compile() {
  local words=() bin
  for bin in "${BINS[@]}"; do words+=(--bin "$bin"); done
  step 3600 "compile (the first time takes minutes)" env CARGO_TERM_COLOR=never CARGO_HTTP_TIMEOUT=60 \
    cargo build --manifest-path "$ROOT/Cargo.toml" --target-dir "$ROOT/target" --locked --release "${words[@]}" ||
    fail "could not compile the services" "see the lines above; CCB_VERBOSE=1 shows all of them"
}

# stage_binaries: compiles the binaries and copies them to where the Dockerfile's stage `prebuilt` reads them.
stage_binaries() {
  compile
  mkdir -p "$ROOT/target/container"
  local bin
  for bin in "${BINS[@]}"; do
    cmp -s "$ROOT/target/release/$bin" "$ROOT/target/container/$bin" || cp "$ROOT/target/release/$bin" "$ROOT/target/container/$bin"
  done
}
