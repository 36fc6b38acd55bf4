# Sourced by the scripts: a signal to a script also stops the command that it runs, and the script then exits with 75.
#
# By default a shell handles a signal only after its command has ended, or it dies at once and leaves the command running. Therefore
# commands run in the background, and the script waits for them. Under nohup SIGHUP stays ignored.
current_command='' stopped=0 # stopped: the number of signals so far
stop() {
    stopped=$((stopped + 1))
    case $current_command in
        '') interrupted ;;
        starting) ;; # `run` calls stop again once the command has started
        *) kill -TERM "$current_command" 2>/dev/null ;;
    esac
}
interrupted() {
    echo "interrupted: run the same command again to continue" >&2
    exit 75
}
trap stop INT TERM USR1 HUP

# Runs a command and returns its exit status. Ends the script if a signal comes meanwhile.
run() {
    local status before
    current_command=starting
    "$@" <&0 &
    current_command=$!
    [ $stopped -eq 0 ] || stop
    while # a signal also ends `wait`, which then does not return the command's status
        before=$stopped
        wait "$current_command"
        status=$?
        [ $stopped -ne $before ]
    do :; done
    current_command=''
    [ $stopped -eq 0 ] || [ $status -ne 75 ] || exit 75 # the command has printed the message
    [ $stopped -eq 0 ] || interrupted
    return $status
}
