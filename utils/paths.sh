# Sourced by the scripts before they change to their own folder: paths on their command lines are relative to the user's folder.

# Sets the array `arguments` to the arguments, with absolute paths unless the user is in the scripts' folder; and `given_runs` to the
# value of --runs, empty if there is none. If the script sets `words_are_folders`, each word that is no value of an option is a path, even
# if there is nothing.
read_arguments() {
    local argument name='' value
    arguments=() given_runs=''
    for argument in "$@"; do
        value=$argument
        case $argument in
            --*=*) name=${argument%%=*} value=${argument#*=} ;;
            --detail | --no-detail | --paper) name='' value='' ;; # options of analyze.py without a value
            -*) name=$argument value='' ;;
        esac
        if [ -n "$value" ]; then
            case $name in
                --runs) value=$(absolute_path "$value") given_runs=$value ;;
                --data-dir | --data_dir | --report | --config | --plugin | --beside | --output | --error) value=$(absolute_path "$value") ;;
                --weights) [ "$value" = pretrained ] || value=$(absolute_path "$value") ;;
                --data | --ood) value=$(absolute_source "$value") ;;
                '') # no option yet: a folder, or a file, or FILE::TEST
                    [ -z "${words_are_folders-}" ] && [ ! -e "${value%%::*}" ] || value=$(absolute_path "$value")
                    ;;
            esac
            case $argument in --*=*) argument=$name=$value ;; *) argument=$value ;; esac
        fi
        arguments+=("$argument")
    done
}

# Prints a data set with its path as an absolute path. It is a path if it contains a slash, ends in .npz or .txt, or is a folder here
# whose name is no data set's.
absolute_source() {
    local source=$1
    case $1 in near=* | far=* | very_far=*) source=${1#*=} ;; esac
    case $source in
        */* | *.npz | *.txt) absolute_path "$1" ;;
        *) if [ -d "$source" ] && ! is_data_set "$source"; then absolute_path "$1"; else echo "$1"; fi ;;
    esac
}

# Whether the catalog has a data set of this name.
is_data_set() {
    # The first word in quotes of a row is its name.
    sed -nE 's/^(    [A-Za-z_]+\([A-Za-z., ]*|        (name=)?)"([a-z0-9_]+)",.*/\3/p' "$(dirname "${BASH_SOURCE[0]}")/../data/catalog.py" |
        grep -xF -- "$1" >/dev/null
}

# Prints a path as an absolute path. The path may have a role (near=PATH), which is kept.
absolute_path() {
    local role=''
    case $1 in near=* | far=* | very_far=*) role=${1%%=*}= ;; esac
    case ${1#"$role"} in
        /*) echo "$1" ;;
        *) if [ . -ef "$(dirname "${BASH_SOURCE[0]}")/.." ]; then echo "$1"; else echo "$role$PWD/${1#"$role"}"; fi ;;
    esac
}
