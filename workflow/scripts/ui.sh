#!/usr/bin/env bash
# MLflow on loopback, following the suites as they run. Ctrl-C ends both processes.
#   PORT=5001 workflow/scripts/ui.sh
set -eu
cd "$(dirname "$0")/../.."
PATH="$PWD/.venv/bin:$PATH"
port="${PORT:-5000}"
uri=sqlite:///mlflow.db
export MLFLOW_DISABLE_TELEMETRY=true
# MLflow's background jobs serve its GenAI side only.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

pids=()
finish() {
    trap - EXIT INT TERM
    if [ "${#pids[@]}" -gt 0 ]; then
        kill "${pids[@]}" 2>/dev/null || true
        wait "${pids[@]}" 2>/dev/null || true
    fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Imports what there is, so that the addresses below exist.
stembench track
stembench track --watch &
pids+=("$!")
mlflow ui --host 127.0.0.1 --port "$port" --workers 1 \
    --backend-store-uri "$uri" --uvicorn-opts "--log-level warning" &
pids+=("$!")

python - "$uri" "$port" <<'PYTHON'
import sys
import urllib.request
import time

from stembench.tracking import addresses

uri, port = sys.argv[1:]
base = f"http://127.0.0.1:{port}"
for _ in range(240):
    try:
        urllib.request.urlopen(f"{base}/health", timeout=1).close()
        break
    except OSError:
        time.sleep(0.25)
print(f"\nMLflow is at {base} (Ctrl-C ends it). The runs of")
for suite, address in addresses(uri, base).items():
    print(f"  {suite}: {address}")
PYTHON

# Ends with whichever of the two ends first.
wait -n "${pids[@]}"
