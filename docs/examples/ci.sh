#!/usr/bin/env bash
# Tests an integration without a phone: starts a gateway with its simulated WhatsApp, links a session to a simulated phone, receives,
# sends, and looks at what the other phone shows; then WhatsApp misbehaves, and nothing may get lost.
#
# Replace the two marked places by your own integration. Needs bash, curl and jq. Settings:
#   GATEWAY         the program                          (whatsapp-gateway)
#   PORT            where the gateway serves its API     (8080)
#   WHATSAPP_PORT   where the simulated WhatsApp listens (8088)
set -euo pipefail

GATEWAY=${GATEWAY:-whatsapp-gateway} PORT=${PORT:-8080} WHATSAPP_PORT=${WHATSAPP_PORT:-8088}
SHOP=6281200000001 CUSTOMER=6281200000002
home=$(mktemp -d)
# A key for this run alone: `wa_` and at least 24 letters or digits.
WAGW_BOOTSTRAP_API_KEY=wa_$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export WAGW_BOOTSTRAP_API_KEY

"$GATEWAY" serve --sandbox --listen "127.0.0.1:$PORT" --sandbox-listen "127.0.0.1:$WHATSAPP_PORT" --data-dir "$home" \
  > "$home/out" 2> "$home/log" &
gateway=$!
trap 'kill $gateway 2> /dev/null || true; wait $gateway 2> /dev/null || true; rm -rf "$home"' EXIT

fail() { echo "FAILED: $*" >&2; tail -n 20 "$home/log" >&2; exit 1; }

# Calls the gateway: `call PATH [curl's arguments]`; an error status ends the script and shows the answer.
call() {
  local path=$1
  shift
  curl -sS --fail-with-body -H "x-api-key: $WAGW_BOOTSTRAP_API_KEY" -H 'content-type: application/json' "http://127.0.0.1:$PORT$path" "$@" ||
    fail "$path"
}

# Asks until the answer fits: `until_fits PATH JQ-EXPRESSION`. Simulated or not, WhatsApp takes its time, so tests wait for conditions.
until_fits() {
  local answer
  for _ in $(seq 300); do
    answer=$(call "$1")
    if jq -e "$2" <<< "$answer" > /dev/null; then return; fi
    sleep 0.1
  done
  fail "$1 never fitted: $2 in $answer"
}

for _ in $(seq 300); do
  curl -fs "http://127.0.0.1:$PORT/readyz" > /dev/null && break
  kill -0 $gateway 2> /dev/null || fail "the gateway ended"
  sleep 0.1
done

echo "two phones: the shop's and a customer's"
call /sandbox/v1/phones -d "{\"phoneNumber\":\"$SHOP\",\"pushName\":\"Shop\"}" > /dev/null
call /sandbox/v1/phones -d "{\"phoneNumber\":\"$CUSTOMER\",\"pushName\":\"Customer\"}" > /dev/null

echo "the shop's phone scans the code of a new session"
session=$(call /api/v1/sessions -d '{"label":"CI","start":true}' | jq -r .id)
code=$(call "/api/v1/sessions/$session/qr?wait=30" -H 'accept: application/json' | jq -r .code)
call "/sandbox/v1/phones/$SHOP:scan" -d "$(jq -n --arg code "$code" '{$code}')" > /dev/null
until_fits "/api/v1/sessions/$session" '.status == "working"'

echo "the customer writes, and the integration hears of it"
call "/sandbox/v1/phones/$CUSTOMER/messages" -d "{\"to\":\"$SHOP\",\"text\":\"Are you open?\"}" > /dev/null
# --- here your integration would get its webhook or read its stream ---
until_fits '/api/v1/events?limit=1000&events=message' '[.data[].payload.body] | index("Are you open?")'

echo "the integration answers, and the customer sees it"
# --- here your integration would answer ---
call "/api/v1/sessions/$session/messages" -d "{\"type\":\"text\",\"to\":\"$CUSTOMER\",\"text\":\"Until six.\"}" > /dev/null
until_fits "/sandbox/v1/phones/$CUSTOMER/messages" '[.data[] | select(.text == "Until six." and .direction == "in")] | length == 1'

echo "the connection drops, and nothing is lost"
call /sandbox/v1/faults -d "{\"kind\":\"drop\",\"phoneNumber\":\"$SHOP\"}" > /dev/null
call "/sandbox/v1/phones/$CUSTOMER/messages" -d "{\"to\":\"$SHOP\",\"text\":\"Still there?\"}" > /dev/null
until_fits '/api/v1/events?limit=1000&events=message' '[.data[].payload.body | select(. == "Still there?")] | length == 1'
until_fits /sandbox/v1/faults '.data[0].injected == 1'

echo "all is well"
