# Sourced by the scripts: a signal to a script stops what it runs too, and the script then ends with 75.
#
# A shell would wait for the command that it runs before it sees to a signal, or die at once and leave the command running. So
# commands run in the background, and the script waits for them. Under nohup SIGHUP stays ignored.
command_under_way='' stopped=''
stop() {
    stopped=1
    [ -n "$command_under_way" ] || interrupted
    kill -TERM "$command_under_way" 2>/dev/null
}
interrupted() {
    echo "interrupted: the same command goes on" >&2
    exit 75
}
trap stop INT TERM USR1 HUP

# Runs a command and returns its exit status; ends the script if a signal came meanwhile.
run() {
    local status
    "$@" <&0 &
    command_under_way=$!
    [ -z "$stopped" ] || stop # it came just before
    while true; do
        wait "$command_under_way"
        status=$?
        kill -0 "$command_under_way" 2>/dev/null || break # else it was a signal that ended the wait
    done
    command_under_way=''
    [ -z "$stopped" ] || [ $status -ne 75 ] || exit 75 # the command has said so
    [ -z "$stopped" ] || interrupted
    return $status
}
