import helper_with_syntax

print(helper_with_syntax)
