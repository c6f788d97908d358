#!/usr/bin/env bash
# The demo of the move to ECR as a newcomer runs it: in a clean clone, with nothing but Node and npm on
# the PATH, so that the stand-ins for kubectl and aws are run too. It must leave nothing behind.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet . "$clone/mural"
cd "$clone/mural" || exit 1

# What npm and the demo need, and no program of others.
mkdir "$clone/bin" "$clone/tmp"
for program in node npm sh env dirname sed uname cat tee grep git; do
  path=$(command -v "$program") && ln -s "$path" "$clone/bin/$program"
done

failed=0
run() { # run NAME OPTION...
  local name=$1 start
  shift
  start=$(date +%s%N)
  if TMPDIR="$clone/tmp" "$@"; then
    echo "the demo $name took $((($(date +%s%N) - start) / 1000000)) ms"
  else
    echo "the demo $name failed"
    failed=$((failed + 1))
  fi
}
run "on EKS with stand-ins" env PATH="$clone/bin" npm run --silent demo:ecr
run "on EC2" npm run --silent demo:ecr -- --iaas

left=$(find "$clone/tmp" -mindepth 1 -maxdepth 1 -name 'mural-*')
if [[ -n $left ]]; then
  echo "the demo left behind: $left"
  failed=$((failed + 1))
fi
echo "$((3 - failed)) passed, $failed failed"
[[ $failed -eq 0 ]]
