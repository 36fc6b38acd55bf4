# Sourced by the scripts: a signal to a script stops what it runs too, and the script then ends with 75.
#
# A shell would wait for the command that it runs before it sees to a signal, or die at once and leave the command running. So
# commands run in the background, and the script waits for them. Under nohup SIGHUP stays ignored.
command_under_way='' stopped=0 # signals so far
stop() {
    stopped=$((stopped + 1))
    case $command_under_way in
        '') interrupted ;;
        starting) ;; # `run` sees to it
        *) kill -TERM "$command_under_way" 2>/dev/null ;;
    esac
}
interrupted() {
    echo "interrupted: the same command goes on" >&2
    exit 75
}
trap stop INT TERM USR1 HUP

# Runs a command and returns its exit status; ends the script if a signal came meanwhile.
run() {
    local status before
    command_under_way=starting
    "$@" <&0 &
    command_under_way=$!
    [ $stopped -eq 0 ] || stop
    while # a signal that comes meanwhile ends the wait too: then its status is not the command's
        before=$stopped
        wait "$command_under_way"
        status=$?
        [ $stopped -ne $before ]
    do :; done
    command_under_way=''
    [ $stopped -eq 0 ] || [ $status -ne 75 ] || exit 75 # the command has said so
    [ $stopped -eq 0 ] || interrupted
    return $status
}
