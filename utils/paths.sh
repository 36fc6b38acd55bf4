# Sourced by the scripts before they go to their own folder: paths on their command lines are relative to where the user is.

# Puts the arguments into the array `arguments`, with whole paths unless the user is in the scripts' folder, and the value of --runs,
# if it is given, into `given_runs`. A value of --ood is a path if it looks like one; a word is a set's name.
read_arguments() {
    local argument name='' value
    arguments=() given_runs=''
    for argument in "$@"; do
        value=$argument
        case $argument in
            --*=*) name=${argument%%=*} value=${argument#*=} ;;
            --*) name=$argument value='' ;;
        esac
        if [ -n "$value" ]; then
            case $name in
                --runs) value=$(whole "$value") given_runs=$value ;;
                --data-dir | --data_dir | --report) value=$(whole "$value") ;;
                --ood) case $value in */* | *.npz | *.txt) value=$(whole "$value") ;; esac ;;
            esac
            case $argument in --*=*) argument=$name=$value ;; *) argument=$value ;; esac
        fi
        arguments+=("$argument")
    done
}

# A path, with a role (near=PATH) or without.
whole() {
    local role=''
    case $1 in near=* | far=* | very_far=*) role=${1%%=*}= ;; esac
    case ${1#"$role"} in
        /*) echo "$1" ;;
        *) if [ . -ef "$(dirname "${BASH_SOURCE[0]}")/.." ]; then echo "$1"; else echo "$role$PWD/${1#"$role"}"; fi ;;
    esac
}
