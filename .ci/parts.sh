#!/usr/bin/env bash
# Gets the programs that the tests run for real, none of which is a Python package:
#
#   .ci/parts.sh                      all of them
#   .ci/parts.sh jaeger collector     only these
#   .ci/parts.sh where zipkin         the path of one, whether it is there or not
#
#   system     Debian packages: a browser, a font for it, Redis, a Java runtime and npm when there are none
#   databases  Debian packages: PostgreSQL and MariaDB, which the tests start for themselves
#   jaeger     built from its Go module
#   collector  an OpenTelemetry Collector with the few parts we use, built from .ci/go
#   zipkin     its executable jar
#
# They go to a cache outside the checkout, in a folder named by what they are built
# from, so that a later run takes what is there and a changed pin builds anew.
set -euo pipefail

readonly ZIPKIN_VERSION=3.5.1
readonly ZIPKIN_SHA256=7ac633a6832647e71e50012a5e3e91fbc7054414955261724526030faf271d8d
# Jaeger's module still counts in 1.x; this release of it is the one published as 2.13.0.
readonly JAEGER_VERSION=2.13.0

ci_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly ci_dir
readonly cache=${TOOLBAR_PARTS_CACHE:-$HOME/.cache/otel-toolbar-parts}

main() {
  if [[ ${1:-} == where ]]; then
    path_of "${2:?which part?}"
    return
  fi
  [[ $# -gt 0 ]] || set -- system databases jaeger collector zipkin
  local part
  for part in "$@"; do
    case $part in
      system) timed system debian_packages ;;
      databases) timed databases database_servers ;;
      jaeger | collector | zipkin) timed "$part" provide "$part" ;;
      *) fail "no such part: $part" ;;
    esac
  done
}

# --- what each part is -------------------------------------------------------

path_of() {
  case $1 in
    jaeger) echo "$cache/jaeger-$JAEGER_VERSION-$(go_key)/jaeger" ;;
    collector) echo "$cache/collector-$(collector_version)-$(go_key)/collector" ;;
    zipkin) echo "$cache/zipkin-$ZIPKIN_VERSION/zipkin.jar" ;;
    *) fail "no such part: $1" ;;
  esac
}

# The exact dependencies and our own lines decide what the two Go programs are.
go_key() { (cd "$ci_dir/go" && cat go.mod go.sum collector/main.go) | sha256sum | cut -c1-12; }

collector_version() { awk '$1 == "go.opentelemetry.io/collector/otelcol" { print substr($2, 2) }' "$ci_dir/go/go.mod"; }

make_jaeger() {
  go_build github.com/jaegertracing/jaeger/cmd/jaeger "$1" \
    "github.com/jaegertracing/jaeger/internal/version.latestVersion=v$JAEGER_VERSION"
}

make_collector() { go_build ./collector "$1" "main.version=$(collector_version)"; }

make_zipkin() {
  command -v mvn > /dev/null || apt_install maven
  local folder
  folder=$(dirname -- "$1")
  twice mvn --quiet --batch-mode dependency:copy -Dmdep.stripVersion=true \
    -Dartifact="io.zipkin:zipkin-server:$ZIPKIN_VERSION:jar:exec" -DoutputDirectory="$folder"
  mv -- "$folder/zipkin-server-exec.jar" "$1"
  echo "$ZIPKIN_SHA256  $1" | sha256sum --check --status || fail "zipkin: not the file that was pinned"
}

debian_packages() {
  local wanted=()
  command -v chromium > /dev/null || wanted+=(chromium)
  font_is_there || wanted+=(fonts-dejavu-core)
  command -v java > /dev/null || wanted+=(default-jre-headless)
  command -v npm > /dev/null || wanted+=(npm)
  command -v redis-server > /dev/null || wanted+=(redis-server)
  install_packages "${wanted[@]}"
}

# Only the programs are wanted: the tests start servers of their own, on free ports.
database_servers() {
  local wanted=()
  compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || wanted+=(postgresql)
  PATH=$PATH:/usr/sbin command -v mariadbd > /dev/null || wanted+=(mariadb-server)
  install_packages "${wanted[@]}"
}

install_packages() {
  if [[ $# -eq 0 ]]; then
    outcome='already there'
    return
  fi
  apt_install "$@"
  outcome="installed $*"
}

# Without a font chromium draws empty boxes, and a screenshot shows nothing.
font_is_there() { [[ $(dpkg-query --show --showformat='${db:Status-Status}' fonts-dejavu-core 2> /dev/null) == installed ]]; }

# --- how a part gets made ----------------------------------------------------

# Makes the part in a folder of its own and renames that folder at the end: whoever
# is killed half way leaves nothing that looks finished. The lock is for two checkouts
# that start at the same time.
provide() {
  local part=$1 target home draft
  target=$(path_of "$part")
  home=$(dirname -- "$target")
  mkdir -p -- "$cache"
  exec {lock}> "$cache/.$part.lock"
  flock "$lock"
  if [[ -e $target ]]; then
    outcome='already there'
  else
    # The lock is ours, so these were left by a run that was killed.
    rm -rf -- "$cache/.draft-$part-"*
    draft=$(mktemp -d -- "$cache/.draft-$part-XXXXXX")
    # shellcheck disable=SC2064 # the folder of now is meant
    trap "rm -rf -- '$draft'" EXIT
    "make_$part" "$draft/$(basename -- "$target")"
    rm -rf -- "$home"
    chmod 755 -- "$draft"
    mv -T -- "$draft" "$home"
    trap - EXIT
    outcome="made, $(du -sh -- "$target" | cut -f1)"
  fi
  exec {lock}>&-
}

go_build() {
  local package=$1 output=$2 set_variable=$3
  command -v go > /dev/null || fail 'Go is missing: install 1.25 or newer (the go command on the PATH)'
  (cd "$ci_dir/go" && twice go build -mod=readonly -trimpath -ldflags "-s -w -X $set_variable" -o "$output" "$package")
}

apt_install() {
  local root=()
  [[ $EUID -eq 0 ]] || root=(sudo)
  if [[ -z ${apt_updated:-} ]]; then
    twice "${root[@]}" apt-get update --quiet=2
    apt_updated=yes
  fi
  twice "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet=2 --yes --no-install-recommends "$@"
}

# A registry that hiccups once must not fail the whole run.
twice() { quietly "$@" || { sleep 5 && quietly "$@"; }; }

# Hundreds of lines about downloads are worth reading only when something went wrong.
quietly() {
  local status=0 log
  log=$(mktemp)
  "$@" > "$log" 2>&1 || status=$?
  [[ $status -eq 0 ]] || tail -n 50 -- "$log" >&2
  rm -f -- "$log"
  return "$status"
}

timed() {
  local name=$1 start=$SECONDS
  shift
  outcome=''
  "$@"
  echo "$name: $outcome ($((SECONDS - start)) s)"
}

fail() {
  echo "parts.sh: $1" >&2
  exit 1
}

main "$@"
