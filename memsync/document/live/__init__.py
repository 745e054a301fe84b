"""Documents that change in place while other threads read them, and drafts of such documents."""
