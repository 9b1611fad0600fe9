// The products that products.hpp declares.
#define MOE_COMPILE_PRODUCTS
#include "products.hpp"
