"""The check-up: answers of one server come in, sections of judged lines go out. Changes nothing."""
