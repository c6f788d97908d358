#!/usr/bin/env bash
# The quickstart as a newcomer runs it: in a clean clone, twice. The second run picks up the first.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet . "$clone/mural"
cd "$clone/mural" || exit 1
failed=0
for run in first second; do
  start=$(date +%s%N)
  if npm run --silent quickstart -- --exit; then
    echo "the $run quickstart took $((($(date +%s%N) - start) / 1000000)) ms"
  else
    echo "the $run quickstart failed"
    failed=$((failed + 1))
  fi
done
echo "$((2 - failed)) passed, $failed failed"
[[ $failed -eq 0 ]]
