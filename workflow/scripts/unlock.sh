#!/usr/bin/env bash
# A killed snakemake leaves its lock behind, and jobs that it started may still run. Remove the
# lock only when no process of this project lives.
set -eu
living=$(
    for pid in $(pgrep -f 'stembench (train|tune|data|split|fetch)|bin/snakemake' || true); do
        [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$PWD" ] && [ "$pid" != "$$" ] && echo "$pid"
    done || true
)
if [ -n "$living" ]; then
    echo "These processes of this project still run; wait for them or end them first:"
    # shellcheck disable=SC2086
    ps -o pid,etime,args -p $(echo $living | tr ' ' ',') | cut -c1-160
    exit 1
fi
snakemake --unlock --quiet
echo "unlocked: run snakemake again, it does only what is missing"
