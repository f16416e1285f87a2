#!/bin/sh
# Builds the guest daemon: `guest/build.sh PATH`. The same sources and the same Go give the same bytes, anywhere.
set -eu
out=${1:?usage: build.sh PATH}
case $out in /*) ;; *) out=$PWD/$out ;; esac
cd "$(dirname "$0")"
GOTOOLCHAIN=local GOFLAGS= GOWORK=off CGO_ENABLED=0 GOOS=linux \
  go build -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o "$out" .
