#!/bin/sh
# Starts the worker from the environment variables of legacy vumi's image:
#
#   WORKER_CLASS   vumi_turn.TurnChannelsApi where it is not given
#   CONFIG_FILE    the worker's YAML file
#   AMQP_HOST, AMQP_PORT, AMQP_VHOST, AMQP_USERNAME, AMQP_PASSWORD
#   SENTRY_DSN
#   VUMI_OPT_NAME  the option "name", over the one in CONFIG_FILE
#
# New are AMQP_URL and AMQP_CA_FILE. Arguments are more flags of the worker; a
# first argument that is no flag is a command to run instead.
#
# Options by VUMI_OPT_ are on the command line, which other users of the host
# can read: give auth_token and turn_hmac_secret by !env in CONFIG_FILE.
set -eu

case "${1--}" in
    -*) ;;
    *) exec "$@" ;;
esac

# An empty variable is as good as none.
for name in AMQP_HOST AMQP_PORT AMQP_VHOST AMQP_USERNAME AMQP_PASSWORD AMQP_URL AMQP_CA_FILE SENTRY_DSN; do
    eval "[ -n \"\${$name-}\" ] || unset $name"
done

# Values may hold anything, lines that look like another variable too: only
# names are read from the list, and only those that are set are used.
names=$(env | sed -n 's/^\(VUMI_OPT_[A-Za-z0-9_]*\)=.*/\1/p' | sort -u)
for name in $names; do
    if eval "[ -n \"\${$name+set}\" ]"; then
        option=$(printf '%s' "${name#VUMI_OPT_}" | tr '[:upper:]' '[:lower:]')
        eval "set -- --set-option \"\$option:\$$name\" \"\$@\""
    fi
done
[ -z "${CONFIG_FILE-}" ] || set -- --config "$CONFIG_FILE" "$@"

# Replaces this shell, so that signals reach the worker.
exec twistd -n --pidfile= vumi_worker \
    --worker-class "${WORKER_CLASS:-vumi_turn.TurnChannelsApi}" \
    --vumi-config "$(dirname "$0")/docker-amqp.yaml" \
    "$@"
