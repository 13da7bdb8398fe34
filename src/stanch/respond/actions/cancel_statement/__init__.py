"""Cancel one running statement; its session lives on."""
