"sha256-DyBZofhjSZrplXMf231pGoWAt7QAbJU+zQqTcDYmcrk="
